/* notes_tables.c - what the columns of a notes file may hold. Rows out of files pass here, all of
 * them. */
#include "notes/notes_tables.h"

#include <math.h>
#include <string.h>

const cpt_notes_table cpt_notes_tables[CPT_NOTES_TABLES] = {
    {"concepts",
     {{"key", RULE_KEY},
      {"number", RULE_COUNT},
      {"dictionary", RULE_KEY},
      {"genes", RULE_TEXT},
      {"label", RULE_TEXT},
      {"cells", RULE_TEXT}},
     1},
    {"changes",
     {{"uid", RULE_UID},
      {"author", RULE_AUTHOR},
      {"time", RULE_TIME},
      {"kind", RULE_KIND},
      {"concept", RULE_KEY},
      {"field", RULE_FIELD},
      {"value", RULE_TEXT},
      {"target", RULE_UID_OR_NOT}},
     1},
    {"sessions",
     {{"session", RULE_KEY},
      {"author", RULE_AUTHOR},
      {"seed", RULE_SEED},
      {"created", RULE_TIME},
      {"dictionary", RULE_KEY}},
     1},
    {"items",
     {{"session", RULE_KEY},
      {"position", RULE_COUNT},
      {"item", RULE_ITEM},
      {"kind", RULE_UNIT},
      {"unit", RULE_COUNT},
      {"key", RULE_KEY},
      {"repeats", RULE_PLACE}},
     2},
    {"answers",
     {{"uid", RULE_UID},
      {"session", RULE_KEY},
      {"item", RULE_ITEM},
      {"rating", RULE_FIVE},
      {"confidence", RULE_THREE},
      {"label", RULE_LINE},
      {"note", RULE_TEXT},
      {"seconds", RULE_SECONDS},
      {"time", RULE_TIME}},
     1},
};

static bool one_of(const char *text, const char *const *words)
{
    while (*words && strcmp(text, *words) != 0) words++;
    return *words != NULL;
}

static cpt_status check_text_value(const char *column, cpt_notes_rule rule, const char *text,
                                   cpt_err *e)
{
    static const char *const kinds[] = {"set", "undo", "redo", NULL}, *const units[] = {
                                                                          "concept", "neuron",
                                                                          "random", NULL};
    enum { DAY_MS = 24 * 3600 * 1000 };
    int64_t time;
    bool ok = true;
    switch (rule) {
    case RULE_KEY: ok = cpt_notes_is_hex(text, CPT_NOTES_KEY); break;
    case RULE_UID: ok = cpt_notes_is_hex(text, CPT_NOTES_UID); break;
    case RULE_UID_OR_NOT: ok = !*text || cpt_notes_is_hex(text, CPT_NOTES_UID); break;
    case RULE_ITEM: ok = cpt_notes_is_hex(text, 10); break;
    case RULE_KIND: ok = one_of(text, kinds); break;
    case RULE_UNIT: ok = one_of(text, units); break;
    case RULE_AUTHOR: return cpt_notes_check_author(text, e);
    case RULE_TEXT: return cpt_notes_check_text(column, text, CPT_NOTES_TEXT, true, e);
    case RULE_LINE: return cpt_notes_check_text(column, text, CPT_NOTES_LINE, false, e);
    case RULE_FIELD: return cpt_notes_check_text(column, text, 40, false, e);
    case RULE_TIME:
        ok = cpt_notes_time_parse(text, &time);
        if (ok &&
            time > cpt_notes_now_ms() + DAY_MS) /* it would win over everything said until then */
            return cpt_fail(e, CPT_ERR_FORMAT,
                            "%s: %s lies in the future; is the clock of one machine wrong?", column,
                            text);
        break;
    default: ok = false;
    }
    return ok ? CPT_OK
              : cpt_fail(e, CPT_ERR_FORMAT, "%s: '%.60s' cannot stand there", column, text);
}

static cpt_status check_number(const char *column, cpt_notes_rule rule, int64_t x, cpt_err *e)
{
    int64_t low = rule == RULE_FIVE || rule == RULE_THREE ? 1 : rule == RULE_PLACE ? -1 : 0;
    int64_t high = rule == RULE_FIVE ? 5 : rule == RULE_THREE ? 3 : INT32_MAX;
    if (rule == RULE_SEED || (x >= low && x <= high)) return CPT_OK;
    return cpt_fail(e, CPT_ERR_FORMAT, "%s: %lld is not within %lld to %lld", column, (long long)x,
                    (long long)low, (long long)high);
}

static char kind_of(cpt_notes_rule rule)
{
    return rule == RULE_SECONDS ? 'd' : rule >= RULE_COUNT ? 'i' : 't';
}

static cpt_status check_change(const cpt_notes_value *row, cpt_err *e)
{
    bool set = strcmp(row[3].text, "set") == 0;
    if (set != !*row[7].text)
        return cpt_fail(e, CPT_ERR_FORMAT, "target: %s",
                        set ? "a change of kind 'set' has none" : "is missing");
    return cpt_notes_check_value(row[5].text, row[6].text, e);
}

cpt_status cpt_notes_check_row(const cpt_notes_table *t, const cpt_notes_value *row, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int i = 0; t->columns[i].name && status == CPT_OK; i++) {
        const char *column = t->columns[i].name;
        cpt_notes_rule rule = t->columns[i].rule;
        char want = kind_of(rule);
        if (row[i].kind != want)
            status = cpt_fail(e, CPT_ERR_FORMAT, "%s: %s", column,
                              !row[i].kind  ? "is missing"
                              : want == 't' ? "is not a text"
                                            : "is not a number");
        else if (want == 't') status = check_text_value(column, rule, row[i].text, e);
        else if (want == 'i') status = check_number(column, rule, row[i].integer, e);
        else if (!(row[i].real >= 0 && row[i].real <= 366 * 86400.0))
            status = cpt_fail(e, CPT_ERR_FORMAT, "%s: %g is not a duration", column, row[i].real);
    }
    if (status == CPT_OK && strcmp(t->name, "changes") == 0) status = check_change(row, e);
    return status;
}
