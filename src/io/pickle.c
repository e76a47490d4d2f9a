/* A pickle is a program for a stack machine (PEP 307, 3154 and Python's pickletools describe its
 * opcodes). This machine has no opcode that runs anything: GLOBAL pushes a name, REDUCE and NEWOBJ
 * an opaque node that remembers name and arguments, unless a hook knows the name.
 *
 * Hostile input. Every opcode takes at least one byte and makes at most one node, lengths are
 * compared with the bytes that are left, the arena has a limit, nesting is bounded when a value is
 * put into another, marks are bounded, a memo number above the length of the pickle is refused, and
 * C recursion does not occur. Cycles and shared parts can be built: a walk needs limits of its own.
 *
 * The opcodes of protocols 0 and 1 that modern picklers never write (among them INST and OBJ, old
 * ways to call something) are unknown here. O(bytes). */
#include "io/pickle.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_MARKS = 4 * CPT_MOST_NESTED, LONGEST_NAME = 1000 };

typedef struct machine {
    cpt_pickle *p;
    size_t at; /* next byte */
    cpt_value **stack;
    size_t height, stack_capacity;
    size_t marks[MOST_MARKS], n_marks;
    cpt_value **memo;
    size_t n_memo, memo_room, memo_capacity; /* entries in use, slots set to NULL or a value */
    bool stopped;
    cpt_err *e;
} machine;

/* ---- errors ---- */

static cpt_status fail_at(const cpt_pickle *p, cpt_err *e, cpt_status code, const char *next,
                          const char *fmt, va_list args)
{
    char what[400];
    vsnprintf(what, sizeof what, fmt, args);
    return cpt_fail(e, code, "%s: %s%sbyte %zu: %s; %s", p->path, p->place, *p->place ? ", " : "",
                    p->at, what, next);
}

cpt_status cpt_pickle_fail(const cpt_pickle *p, cpt_err *e, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    cpt_status status =
        fail_at(p, e, CPT_ERR_FORMAT,
                "the file is damaged or not made by torch.save: download it again", fmt, args);
    va_end(args);
    return status;
}

cpt_status cpt_pickle_unsupported(const cpt_pickle *p, cpt_err *e, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    cpt_status status = fail_at(p, e, CPT_ERR_UNSUPPORTED,
                                "save the model's state_dict with a recent torch.save", fmt, args);
    va_end(args);
    return status;
}

cpt_status cpt_pickle_memory(const cpt_pickle *p, cpt_err *e)
{
    return cpt_fail(
        e, CPT_ERR_MEMORY,
        "%s: %s%sbyte %zu: needs more memory than there is or than a file of this size may take",
        p->path, p->place, *p->place ? ", " : "", p->at);
}

/* A constant, so that the compiler knows that the caller stops. */
#define FAIL(...) (cpt_pickle_fail(m->p, m->e, __VA_ARGS__), CPT_ERR_FORMAT)

/* ---- bytes, stack, marks, memo ---- */

static cpt_status take_bytes(machine *m, uint64_t n, const unsigned char **bytes)
{
    if (n > m->p->size - m->at)
        return FAIL("%llu bytes announced, %zu are left", (unsigned long long)n,
                    m->p->size - m->at);
    *bytes = m->p->bytes + m->at;
    m->at += (size_t)n;
    return CPT_OK;
}

/* An unsigned little-endian number of n bytes. */
static cpt_status take_number(machine *m, int n, uint64_t *number)
{
    const unsigned char *b;
    cpt_status status = take_bytes(m, (uint64_t)n, &b);
    if (status) return status;
    for (*number = 0; n-- > 0;) *number = *number << 8 | b[n];
    return CPT_OK;
}

/* v may be NULL: out of memory. */
static cpt_status push(machine *m, cpt_value *v)
{
    if (!v) return cpt_pickle_memory(m->p, m->e);
    cpt_status status =
        cpt_grow(&m->stack, &m->stack_capacity, m->height + 1, sizeof *m->stack, m->e);
    if (status == CPT_OK) m->stack[m->height++] = v;
    return status;
}

/* The items above the newest mark are never reached by accident. */
static size_t floor_of(const machine *m)
{
    return m->n_marks ? m->marks[m->n_marks - 1] : 0;
}

static cpt_status pop(machine *m, cpt_value **v)
{
    if (m->height <= floor_of(m)) return FAIL("takes more values than there are");
    *v = m->stack[--m->height];
    return CPT_OK;
}

static cpt_status top(machine *m, cpt_value **v)
{
    if (m->height <= floor_of(m)) return FAIL("takes more values than there are");
    *v = m->stack[m->height - 1];
    return CPT_OK;
}

/* The values above the newest mark, which is removed; they stay in place until the next push. */
static cpt_status pop_mark(machine *m, cpt_value ***items, size_t *n)
{
    if (m->n_marks == 0) return FAIL("a mark is missing");
    size_t from = m->marks[--m->n_marks];
    *items = m->stack ? m->stack + from : NULL;
    *n = m->height - from;
    m->height = from;
    return CPT_OK;
}

static cpt_status put_memo(machine *m, uint64_t number)
{
    cpt_value *v;
    cpt_status status = top(m, &v);
    if (status) return status;
    if (number > m->p->size) return FAIL("memo number %llu is absurd", (unsigned long long)number);
    size_t slot = (size_t)number;
    status = cpt_grow(&m->memo, &m->memo_capacity, slot + 1, sizeof *m->memo, m->e);
    if (status) return status;
    while (m->memo_room <= slot) m->memo[m->memo_room++] = NULL;
    if (!m->memo[slot]) m->n_memo++;
    m->memo[slot] = v;
    return CPT_OK;
}

static cpt_status get_memo(machine *m, uint64_t number)
{
    if (number >= m->memo_room || !m->memo[number])
        return FAIL("memo number %llu was never stored", (unsigned long long)number);
    return push(m, m->memo[number]);
}

/* ---- leaves ---- */

static cpt_status push_text(machine *m, cpt_value_kind kind, int length_bytes)
{
    uint64_t n;
    const unsigned char *b;
    cpt_status status = take_number(m, length_bytes, &n);
    if (!status) status = take_bytes(m, n, &b);
    if (status) return status;
    if (kind == CPT_VALUE_TEXT && !cpt_utf8_valid((const char *)b, (size_t)n))
        return FAIL("a text is not UTF-8");
    return push(m, cpt_value_new_bytes(m->p->arena, kind, b, (size_t)n));
}

/* Python 2 wrote str as bytes of unknown encoding: text when it is UTF-8. */
static cpt_status push_string(machine *m, int length_bytes)
{
    cpt_status status = push_text(m, CPT_VALUE_BYTES, length_bytes);
    if (status) return status;
    cpt_value *v = m->stack[m->height - 1];
    if (cpt_utf8_valid(v->as.text.bytes, v->as.text.length)) v->kind = CPT_VALUE_TEXT;
    return CPT_OK;
}

static cpt_status push_int(machine *m, int n_bytes, bool is_signed)
{
    uint64_t u;
    cpt_status status = take_number(m, n_bytes, &u);
    if (status) return status;
    return push(m, cpt_value_new_int(m->p->arena, is_signed ? (int64_t)(int32_t)u : (int64_t)u));
}

/* Two's complement of any length; what does not fit into 64 bits becomes opaque. */
static cpt_status push_long(machine *m, int length_bytes)
{
    uint64_t n, u = 0;
    const unsigned char *b;
    cpt_status status = take_number(m, length_bytes, &n);
    if (!status) status = take_bytes(m, n, &b);
    if (status) return status;
    if (n > 8) return push(m, cpt_value_new(m->p->arena, CPT_VALUE_OPAQUE));
    if (n && b[n - 1] & 0x80) u = ~(uint64_t)0;
    while (n-- > 0) u = u << 8 | b[n];
    return push(m, cpt_value_new_int(m->p->arena, (int64_t)u));
}

static cpt_status push_float(machine *m)
{
    const unsigned char *b;
    uint64_t bits = 0;
    cpt_status status = take_bytes(m, 8, &b);
    if (status) return status;
    for (int i = 0; i < 8; i++) bits = bits << 8 | b[i]; /* the only big-endian number here */
    cpt_value *v = cpt_value_new(m->p->arena, CPT_VALUE_FLOAT);
    if (v) memcpy(&v->as.number, &bits, sizeof bits);
    return push(m, v);
}

static cpt_status push_bool(machine *m, bool b)
{
    cpt_value *v = cpt_value_new(m->p->arena, CPT_VALUE_BOOL);
    if (v) v->as.boolean = b;
    return push(m, v);
}

/* ---- names ---- */

static cpt_status push_name(machine *m, const char *module, size_t n, const char *name,
                            size_t n_name)
{
    char whole[2 * LONGEST_NAME + 2];
    if (n > LONGEST_NAME || n_name > LONGEST_NAME || !n || !n_name)
        return FAIL("a name is empty or too long");
    memcpy(whole, module, n);
    whole[n] = '.';
    memcpy(whole + n + 1, name, n_name);
    if (!cpt_utf8_valid(whole, n + 1 + n_name)) return FAIL("a name is not UTF-8");
    return push(m, cpt_value_new_bytes(m->p->arena, CPT_VALUE_NAME, whole, n + 1 + n_name));
}

static cpt_status take_line(machine *m, const char **line, size_t *n)
{
    const unsigned char *from = m->p->bytes + m->at;
    size_t left = m->p->size - m->at;
    const unsigned char *end =
        memchr(from, '\n', left < LONGEST_NAME + 1 ? left : LONGEST_NAME + 1);
    if (!end) return FAIL("a name does not end");
    *line = (const char *)from;
    *n = (size_t)(end - from);
    m->at += *n + 1;
    return CPT_OK;
}

static cpt_status push_global(machine *m)
{
    const char *module, *name;
    size_t n, n_name;
    cpt_status status = take_line(m, &module, &n);
    if (!status) status = take_line(m, &name, &n_name);
    return status ? status : push_name(m, module, n, name, n_name);
}

static cpt_status push_stack_global(machine *m)
{
    cpt_value *module, *name;
    cpt_status status = pop(m, &name);
    if (!status) status = pop(m, &module);
    if (status) return status;
    if (module->kind != CPT_VALUE_TEXT || name->kind != CPT_VALUE_TEXT)
        return FAIL("a name is not made of two texts");
    return push_name(m, module->as.text.bytes, module->as.text.length, name->as.text.bytes,
                     name->as.text.length);
}

/* ---- containers ---- */

static cpt_status check_put(machine *m, cpt_put put)
{
    if (put == CPT_PUT_MEMORY) return cpt_pickle_memory(m->p, m->e);
    if (put == CPT_PUT_TOO_DEEP)
        return FAIL("values are nested more than %d deep", CPT_MOST_NESTED);
    return CPT_OK;
}

static cpt_status append(machine *m, cpt_value *list, cpt_value *item)
{
    return check_put(m, cpt_value_append(m->p->arena, list, item));
}

static cpt_status append_all(machine *m, cpt_value *list, cpt_value **items, size_t n)
{
    cpt_status status = CPT_OK;
    if (!cpt_value_reserve(m->p->arena, list, (int64_t)n)) return cpt_pickle_memory(m->p, m->e);
    for (size_t i = 0; i < n && !status; i++) status = append(m, list, items[i]);
    return status;
}

static cpt_status push_tuple_of(machine *m, cpt_value_kind kind, cpt_value **items, size_t n)
{
    cpt_value *tuple = cpt_value_new(m->p->arena, kind);
    if (!tuple) return cpt_pickle_memory(m->p, m->e);
    cpt_status status = append_all(m, tuple, items, n);
    return status ? status : push(m, tuple);
}

static cpt_status push_marked(machine *m, cpt_value_kind kind)
{
    cpt_value **items;
    size_t n;
    cpt_status status = pop_mark(m, &items, &n);
    return status ? status : push_tuple_of(m, kind, items, n);
}

static cpt_status push_short_tuple(machine *m, size_t n)
{
    if (m->height - floor_of(m) < n) return FAIL("takes more values than there are");
    m->height -= n;
    return push_tuple_of(m, CPT_VALUE_TUPLE, m->stack + m->height, n);
}

static cpt_status append_marked(machine *m)
{
    cpt_value **items, *list;
    size_t n;
    cpt_status status = pop_mark(m, &items, &n);
    if (!status) status = top(m, &list);
    if (status) return status;
    if (list->kind != CPT_VALUE_LIST && list->kind != CPT_VALUE_OPAQUE)
        return FAIL("appends to what is no list");
    return append_all(m, list, items, n);
}

static cpt_status append_one(machine *m)
{
    cpt_value *list, *item;
    cpt_status status = pop(m, &item);
    if (!status) status = top(m, &list);
    if (status) return status;
    if (list->kind != CPT_VALUE_LIST && list->kind != CPT_VALUE_OPAQUE)
        return FAIL("appends to what is no list");
    return append(m, list, item);
}

static cpt_status set_pair(machine *m, cpt_value *dict, cpt_value *key, cpt_value *value)
{
    if (dict->kind == CPT_VALUE_DICT)
        return check_put(m, cpt_value_add_pair(m->p->arena, dict, key, value));
    if (dict->kind != CPT_VALUE_OPAQUE) return FAIL("sets an item of what is no dictionary");
    cpt_status status = append(m, dict, key);
    return status ? status : append(m, dict, value);
}

static cpt_status set_one(machine *m)
{
    cpt_value *dict, *key, *value;
    cpt_status status = pop(m, &value);
    if (!status) status = pop(m, &key);
    if (!status) status = top(m, &dict);
    return status ? status : set_pair(m, dict, key, value);
}

static cpt_status set_marked(machine *m)
{
    cpt_value **items, *dict;
    size_t n;
    cpt_status status = pop_mark(m, &items, &n);
    if (!status) status = top(m, &dict);
    if (status) return status;
    if (n % 2) return FAIL("sets a key without a value");
    if (dict->kind == CPT_VALUE_DICT && !cpt_value_reserve(m->p->arena, dict, (int64_t)n))
        return cpt_pickle_memory(m->p, m->e);
    for (size_t i = 0; i < n && !status; i += 2) status = set_pair(m, dict, items[i], items[i + 1]);
    return status;
}

/* ---- what Python would execute ---- */

/* `extra`: a further argument such as the keywords of NEWOBJ_EX; may be NULL. */
static cpt_status push_opaque(machine *m, cpt_value *name, cpt_value *arguments, cpt_value *extra)
{
    cpt_value *v = cpt_value_new(m->p->arena, CPT_VALUE_OPAQUE);
    if (!v) return cpt_pickle_memory(m->p, m->e);
    cpt_status status = append(m, v, name);
    if (!status) status = append(m, v, arguments);
    if (!status && extra) status = append(m, v, extra);
    return status ? status : push(m, v);
}

static cpt_status call(machine *m, cpt_value *name, cpt_value *arguments)
{
    cpt_value *made = NULL;
    if (arguments->kind != CPT_VALUE_TUPLE) return FAIL("the arguments of a call are no tuple");
    if (m->p->call && name->kind == CPT_VALUE_NAME) {
        cpt_status status = m->p->call(m->p, name, arguments, &made, m->e);
        if (status) return status;
    }
    return made ? push(m, made) : push_opaque(m, name, arguments, NULL);
}

static cpt_status reduce(machine *m)
{
    cpt_value *name, *arguments;
    cpt_status status = pop(m, &arguments);
    if (!status) status = pop(m, &name);
    return status ? status : call(m, name, arguments);
}

static cpt_status new_object_with_keywords(machine *m)
{
    cpt_value *name, *arguments, *keywords;
    cpt_status status = pop(m, &keywords);
    if (!status) status = pop(m, &arguments);
    if (!status) status = pop(m, &name);
    return status ? status : push_opaque(m, name, arguments, keywords);
}

/* State of an object: of a dictionary (OrderedDict._metadata) or tensor it is dropped. */
static cpt_status build(machine *m)
{
    cpt_value *object, *state;
    bool taken = false;
    cpt_status status = pop(m, &state);
    if (!status) status = top(m, &object);
    if (!status && m->p->build) status = m->p->build(m->p, object, state, &taken, m->e);
    if (status || taken) return status;
    switch (object->kind) {
    case CPT_VALUE_OPAQUE: return append(m, object, state);
    case CPT_VALUE_DICT:
    case CPT_VALUE_LIST:
    case CPT_VALUE_TENSOR: return CPT_OK;
    default: return FAIL("gives a state to what can have none");
    }
}

static cpt_status persistent(machine *m)
{
    cpt_value *id, *made = NULL;
    cpt_status status = pop(m, &id);
    if (status) return status;
    if (!m->p->persistent)
        return FAIL(
            "refers to tensors outside of this file (of an unpacked .pt, give the .pt itself)");
    status = m->p->persistent(m->p, id, &made, m->e);
    return status ? status : push(m, made);
}

/* ---- control ---- */

static cpt_status protocol(machine *m)
{
    uint64_t version;
    cpt_status status = take_number(m, 1, &version);
    if (status) return status;
    if (version >= 2 && version <= 5) return CPT_OK;
    return cpt_pickle_unsupported(m->p, m->e, "pickle protocol %d is not one of 2 to 5",
                                  (int)version);
}

static cpt_status mark(machine *m)
{
    if (m->n_marks == MOST_MARKS) return FAIL("values are nested too deep");
    m->marks[m->n_marks++] = m->height;
    return CPT_OK;
}

static cpt_status memo_number(machine *m, int n_bytes, cpt_status (*use)(machine *, uint64_t))
{
    uint64_t number;
    cpt_status status = take_number(m, n_bytes, &number);
    return status ? status : use(m, number);
}

static cpt_status step(machine *m, unsigned char opcode)
{
    cpt_arena *a = m->p->arena;
    uint64_t unused;
    switch (opcode) {
    case 0x80: return protocol(m);
    case 0x95: return take_number(m, 8, &unused); /* FRAME: a hint for readers of streams */
    case '.': m->stopped = true; return CPT_OK;
    case '(': return mark(m);
    case 'q': return memo_number(m, 1, put_memo);
    case 'r': return memo_number(m, 4, put_memo);
    case 0x94: return put_memo(m, m->n_memo);
    case 'h': return memo_number(m, 1, get_memo);
    case 'j': return memo_number(m, 4, get_memo);
    case 'N': return push(m, cpt_value_new(a, CPT_VALUE_NONE));
    case 0x88: return push_bool(m, true);
    case 0x89: return push_bool(m, false);
    case 'K': return push_int(m, 1, false);
    case 'M': return push_int(m, 2, false);
    case 'J': return push_int(m, 4, true);
    case 0x8a: return push_long(m, 1);
    case 0x8b: return push_long(m, 4);
    case 'G': return push_float(m);
    case 0x8c: return push_text(m, CPT_VALUE_TEXT, 1);
    case 'X': return push_text(m, CPT_VALUE_TEXT, 4);
    case 0x8d: return push_text(m, CPT_VALUE_TEXT, 8);
    case 'C': return push_text(m, CPT_VALUE_BYTES, 1);
    case 'B': return push_text(m, CPT_VALUE_BYTES, 4);
    case 0x8e:
    case 0x96: return push_text(m, CPT_VALUE_BYTES, 8);
    case 'U': return push_string(m, 1);
    case 'T': return push_string(m, 4);
    case 'c': return push_global(m);
    case 0x93: return push_stack_global(m);
    case ')': return push(m, cpt_value_new(a, CPT_VALUE_TUPLE));
    case 't': return push_marked(m, CPT_VALUE_TUPLE);
    case 0x85:
    case 0x86:
    case 0x87: return push_short_tuple(m, opcode - 0x84u);
    case ']':
    case 0x8f: return push(m, cpt_value_new(a, CPT_VALUE_LIST)); /* list, set */
    case 0x91: return push_marked(m, CPT_VALUE_LIST);            /* frozenset */
    case 'a': return append_one(m);
    case 'e':
    case 0x90: return append_marked(m);
    case '}': return push(m, cpt_value_new(a, CPT_VALUE_DICT));
    case 's': return set_one(m);
    case 'u': return set_marked(m);
    case 'R':
    case 0x81: return reduce(m);
    case 0x92: return new_object_with_keywords(m);
    case 'b': return build(m);
    case 'Q': return persistent(m);
    default: return FAIL("unknown instruction 0x%02x", opcode);
    }
}

cpt_status cpt_pickle_run(cpt_pickle *p, cpt_value **out, cpt_err *e)
{
    machine *m = calloc(1, sizeof *m);
    if (!m) return cpt_pickle_memory(p, e);
    *m = (machine){.p = p, .e = e};
    cpt_status status = CPT_OK;
    while (!m->stopped && !status) {
        p->at = m->at;
        if (m->at == p->size) status = FAIL("ends in the middle");
        else status = step(m, p->bytes[m->at++]);
    }
    if (!status && m->n_marks) status = FAIL("ends inside of a group");
    if (!status) status = pop(m, out);
    free(m->stack);
    free(m->memo);
    free(m);
    return status;
}
