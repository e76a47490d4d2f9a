/* obo.c - reader of the OBO flat file format 1.2 and 1.4, as far as the Gene Ontology uses it.
 *
 * The file is a header and stanzas of "tag: value" lines. Of a [Term] we keep id, name, namespace,
 * def, is_a, relationship part_of, alt_id, is_obsolete and replaced_by; other tags and other stanzas
 * ([Typedef], [Instance]) are skipped. One pass, linear.
 *
 * Lexical rules (OBO 1.4, section 2): a line ending in an odd number of backslashes goes on in the
 * next one; backslash escapes the next character (\n, \t and \W are blanks to us); an unescaped '!'
 * outside quotes begins a comment; a value may end in a {list of modifiers}. Ids are cut at the
 * first blank, so that comments and modifiers need no care there.
 *
 * Traps: "relationship: regulates X" is not a parent (regulating a process is not a part of it); a
 * live term without namespace cannot be put into a family of tests, hence refused; is_obsolete
 * may follow the parents of its stanza, hence terms are judged at the end of a stanza only.
 */
#include "ontology/obo.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

enum { MAX_LINE = 1 << 20 };

typedef enum stanza { STANZA_HEADER, STANZA_TERM, STANZA_OTHER } stanza;

typedef struct parser {
    cpt_obo *obo;
    cpt_lines *in;
    cpt_text joined; /* a logical line that was continued */
    stanza stanza;
    uint8_t default_aspect;
} parser;

/* ---- lexical ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static char *trim(char *s)
{
    while (is_blank(*s)) s++;
    size_t n = strlen(s);
    while (n && is_blank(s[n - 1])) n--;
    s[n] = '\0';
    return s;
}

/* Ends in an odd number of backslashes: the newline is escaped. */
static bool is_continued(const char *line, size_t n)
{
    size_t slashes = 0;
    while (slashes < n && line[n - 1 - slashes] == '\\') slashes++;
    return slashes % 2 == 1;
}

/* Next logical line; *line = NULL at the end of the file. */
static cpt_status next_line(parser *p, char **line, cpt_err *e)
{
    size_t n;
    cpt_status status = cpt_lines_next(p->in, line, &n, e);
    if (status || !*line || !is_continued(*line, n)) return status;
    p->joined.length = 0;
    while (*line && is_continued(*line, n)) {
        cpt_text_add_bytes(&p->joined, *line, n - 1);
        if (p->joined.length > MAX_LINE)
            return cpt_lines_fail(p->in, e, "continued lines are longer than %d bytes", MAX_LINE);
        CPT_TRY(cpt_lines_next(p->in, line, &n, e));
    }
    if (*line) cpt_text_add_bytes(&p->joined, *line, n);
    CPT_TRY(cpt_text_status(&p->joined, e));
    *line = p->joined.bytes;
done:
    return status;
}

static char unescaped(char c)
{
    return c == 'n' || c == 't' || c == 'W' ? ' ' : c;
}

/* Resolves escapes in place and ends at `stop` (an unescaped character; 0 = none) or at the end. */
static void unescape(char *s, char stop)
{
    char *out = s;
    for (; *s && *s != stop; s++) {
        if (*s == '\\' && s[1]) *out++ = unescaped(*++s);
        else *out++ = *s;
    }
    *out = '\0';
}

/* A {list of modifiers} at the very end of the value is cut off; its '{' follows a blank. */
static void cut_modifiers(char *s)
{
    size_t n = strlen(s);
    if (!n || s[n - 1] != '}' || (n > 1 && s[n - 2] == '\\')) return;
    char *open = strrchr(s, '{');
    if (open && open > s && is_blank(open[-1])) *open = '\0';
}

/* Free text: without comment and modifiers, escapes resolved. */
static char *free_text(char *s)
{
    for (char *c = s; *c; c++) {
        if (*c == '\\' && c[1]) {
            c++;
        } else if (*c == '!' && (c == s || is_blank(c[-1]))) {
            *c = '\0';
            break;
        }
    }
    s = trim(s);
    cut_modifiers(s);
    unescape(s, '\0');
    return trim(s);
}

/* The quoted part of a def, or the whole value when it is not quoted. */
static char *quoted_text(char *s)
{
    if (*s != '"') return free_text(s);
    unescape(s + 1, '"');
    return trim(s + 1);
}

/* First word, and the rest of the line in *rest. */
static char *first_word(char *s, char **rest)
{
    s = trim(s);
    size_t n = strcspn(s, " \t!{");
    char *after = s + n;
    if (*after == '!' || *after == '{') *after = '\0';
    if (*after) *after++ = '\0';
    if (rest) *rest = after;
    unescape(s, '\0');
    return s;
}

/* ---- tags ---- */

static cpt_status keep(parser *p, const char *s, int64_t *number, cpt_err *e)
{
    *number = p->obo->text.n;
    if (!cpt_utf8_valid(s, strlen(s)))
        return cpt_lines_fail(p->in, e, "is not valid UTF-8; convert the file to UTF-8");
    return cpt_strings_add(&p->obo->text, s, strlen(s), e);
}

static cpt_status keep_id(parser *p, char *value, int64_t *number, cpt_err *e)
{
    const char *id = first_word(value, NULL);
    if (!*id) return cpt_lines_fail(p->in, e, "has a tag without an id");
    return keep(p, id, number, e);
}

static cpt_obo_term *current(const parser *p)
{
    return &p->obo->terms[p->obo->n_terms - 1];
}

static cpt_status once(const parser *p, int64_t already, const char *tag, cpt_err *e)
{
    if (already == CPT_OBO_NONE) return CPT_OK;
    return cpt_lines_fail(p->in, e, "a second '%s' in the stanza that began on line %lld", tag,
                          (long long)current(p)->line);
}

static uint8_t aspect_of(const char *name)
{
    static const char *const names[] = {"biological_process", "molecular_function",
                                        "cellular_component"};
    for (uint8_t i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) return i;
    return CPT_OBO_NO_ASPECT;
}

static cpt_status set_aspect(const parser *p, char *value, uint8_t *aspect, cpt_err *e)
{
    const char *name = first_word(value, NULL);
    *aspect = aspect_of(name);
    if (*aspect != CPT_OBO_NO_ASPECT) return CPT_OK;
    return cpt_lines_fail(p->in, e, "namespace '%s' is none of biological_process, "
                          "molecular_function, cellular_component; is this the Gene Ontology "
                          "(go-basic.obo)?", name);
}

static cpt_status add_link(parser *p, cpt_obo_link **links, int64_t *n, size_t *capacity, char *value,
                           uint8_t kind, cpt_err *e)
{
    cpt_status status = cpt_grow(links, capacity, (size_t)*n + 1, sizeof **links, e);
    if (status) return status;
    cpt_obo_link *link = &(*links)[(*n)++];
    *link = (cpt_obo_link){.term = (int32_t)(p->obo->n_terms - 1), .kind = kind,
                           .line = cpt_lines_number(p->in)};
    return keep_id(p, value, &link->name, e);
}

static cpt_status add_parent(parser *p, char *value, uint8_t kind, cpt_err *e)
{
    cpt_obo *o = p->obo;
    return add_link(p, &o->parents, &o->n_parents, &o->parent_capacity, value, kind, e);
}

static cpt_status term_tag(parser *p, const char *tag, char *value, cpt_err *e)
{
    cpt_obo *o = p->obo;
    cpt_obo_term *t = current(p);
    cpt_status status = CPT_OK;
    char *rest;
    if (strcmp(tag, "id") == 0) {
        CPT_TRY(once(p, t->id, tag, e));
        status = keep_id(p, value, &t->id, e);
    } else if (strcmp(tag, "name") == 0) {
        CPT_TRY(once(p, t->name, tag, e));
        status = keep(p, free_text(value), &t->name, e);
    } else if (strcmp(tag, "def") == 0) {
        CPT_TRY(once(p, t->definition, tag, e));
        status = keep(p, quoted_text(value), &t->definition, e);
    } else if (strcmp(tag, "namespace") == 0) {
        status = set_aspect(p, value, &t->aspect, e);
    } else if (strcmp(tag, "is_a") == 0) {
        status = add_parent(p, value, 0, e);
    } else if (strcmp(tag, "relationship") == 0) {
        if (strcmp(first_word(value, &rest), "part_of") == 0) status = add_parent(p, rest, 1, e);
    } else if (strcmp(tag, "alt_id") == 0) {
        status = add_link(p, &o->alt_ids, &o->n_alt_ids, &o->alt_id_capacity, value, 0, e);
    } else if (strcmp(tag, "is_obsolete") == 0) {
        t->obsolete = strcmp(first_word(value, NULL), "true") == 0;
    } else if (strcmp(tag, "replaced_by") == 0) {
        t->n_replaced_by++;
        status = keep_id(p, value, &t->replaced_by, e);
    }
done:
    return status;
}

static cpt_status header_tag(parser *p, const char *tag, char *value, cpt_err *e)
{
    if (strcmp(tag, "data-version") == 0) return keep(p, free_text(value), &p->obo->data_version, e);
    if (strcmp(tag, "default-namespace") == 0) p->default_aspect = aspect_of(first_word(value, NULL));
    return CPT_OK;
}

/* ---- stanzas ---- */

static cpt_status begin_term(parser *p, cpt_err *e)
{
    cpt_obo *o = p->obo;
    if (o->n_terms >= INT32_MAX) return cpt_lines_fail(p->in, e, "too many terms");
    cpt_status status = cpt_grow(&o->terms, &o->term_capacity, (size_t)o->n_terms + 1,
                                 sizeof *o->terms, e);
    if (status) return status;
    o->terms[o->n_terms++] = (cpt_obo_term){
        .line = cpt_lines_number(p->in), .id = CPT_OBO_NONE, .name = CPT_OBO_NONE,
        .definition = CPT_OBO_NONE, .replaced_by = CPT_OBO_NONE, .aspect = p->default_aspect};
    return CPT_OK;
}

/* At the end of a stanza: is it complete? */
static cpt_status end_stanza(parser *p, cpt_err *e)
{
    if (p->stanza != STANZA_TERM) return CPT_OK;
    cpt_obo_term *t = current(p);
    long long line = (long long)t->line;
    if (t->id == CPT_OBO_NONE)
        return cpt_lines_fail(p->in, e, "the stanza that began on line %lld has no id", line);
    if (t->n_replaced_by != 1) t->replaced_by = CPT_OBO_NONE;
    if (t->obsolete) return CPT_OK;
    const char *id = cpt_obo_text(p->obo, t->id);
    if (t->name == CPT_OBO_NONE || !*cpt_obo_text(p->obo, t->name))
        return cpt_lines_fail(p->in, e, "term %s (line %lld) has no name", id, line);
    if (t->aspect == CPT_OBO_NO_ASPECT)
        return cpt_lines_fail(p->in, e, "term %s (line %lld) has no namespace", id, line);
    return CPT_OK;
}

static cpt_status begin_stanza(parser *p, const char *line, cpt_err *e)
{
    cpt_status status = end_stanza(p, e);
    if (status) return status;
    if (!strchr(line, ']')) return cpt_lines_fail(p->in, e, "a stanza name without ']'");
    p->stanza = strncmp(line, "[Term]", 6) == 0 ? STANZA_TERM : STANZA_OTHER;
    return p->stanza == STANZA_TERM ? begin_term(p, e) : CPT_OK;
}

static cpt_status parse_line(parser *p, char *line, cpt_err *e)
{
    line = trim(line);
    if (!*line || *line == '!') return CPT_OK;
    if (*line == '[') return begin_stanza(p, line, e);
    if (p->stanza == STANZA_OTHER) return CPT_OK;
    char *colon = strchr(line, ':');
    if (!colon)
        return cpt_lines_fail(p->in, e, "is neither 'tag: value' nor '[Stanza]'; is this an OBO file?");
    *colon = '\0';
    char *value = trim(colon + 1);
    return p->stanza == STANZA_TERM ? term_tag(p, line, value, e) : header_tag(p, line, value, e);
}

cpt_status cpt_obo_read(const char *path, cpt_obo *out, cpt_err *e)
{
    *out = (cpt_obo){.data_version = CPT_OBO_NONE};
    cpt_status status;
    parser p = {.obo = out, .in = cpt_lines_open(path, MAX_LINE, e),
                .default_aspect = CPT_OBO_NO_ASPECT};
    if (!p.in) return e ? e->code : CPT_ERR_IO;
    for (char *line;;) {
        CPT_TRY(next_line(&p, &line, e));
        if (!line) break;
        CPT_TRY(parse_line(&p, line, e));
    }
    CPT_TRY(end_stanza(&p, e));
    if (out->n_terms == 0) status = cpt_lines_fail(p.in, e, "the file has no [Term]; is this an OBO file?");
done:
    cpt_text_free(&p.joined);
    cpt_lines_close(p.in);
    if (status) cpt_obo_free(out);
    return status;
}

void cpt_obo_free(cpt_obo *o)
{
    cpt_strings_free(&o->text);
    free(o->terms);
    free(o->parents);
    free(o->alt_ids);
    *o = (cpt_obo){0};
}
