/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An automaton that is in many states at once, so no expression takes long. Greedy and
 * lazy repetitions match the same names. Counts repeat the automaton of what they count:
 * its text is read again for each.
 */
#include "util/pattern.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define MAX_BYTES 4096
#define MAX_STATES 4096u
#define MAX_DEPTH 32
#define MAX_COUNT 1000u
#define NONE UINT16_MAX
#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

enum kind { TAKES, SPLITS, BEGINS, ENDS, DONE };

struct state {
    enum kind kind;
    uint8_t set[32]; /* TAKES: bytes */
    uint16_t next[2];
};

struct ww_pattern {
    struct state states[MAX_STATES];
    unsigned n;
    uint16_t first;
    /* While it is matched. */
    uint32_t mark[MAX_STATES];
    uint32_t round;
    uint16_t now[MAX_STATES];
    uint16_t then[MAX_STATES];
    uint16_t stack[2 * MAX_STATES];
};

struct reading {
    struct ww_pattern *p;
    const char *at;
    unsigned depth;
    const char *why; /* it is not read; NULL: it is so far */
};

/* A piece whose last state is empty and leads nowhere yet. */
struct piece {
    uint16_t first;
    uint16_t last;
};

static struct piece read_choice(struct reading *r);

static uint16_t add_state(struct reading *r, enum kind kind)
{
    if (r->p->n == MAX_STATES) {
        r->why = "it has too many steps";
        return 0;
    }
    r->p->states[r->p->n] = (struct state){.kind = kind, .next = {NONE, NONE}};
    return (uint16_t)r->p->n++;
}

static void lead(struct reading *r, uint16_t from, uint16_t to)
{
    struct state *s = &r->p->states[from];

    s->next[s->next[0] == NONE ? 0 : 1] = to;
}

static struct piece one_state(struct reading *r, enum kind kind)
{
    struct piece out = {add_state(r, kind), 0};

    out.last = kind == SPLITS ? out.first : add_state(r, SPLITS);
    if (kind != SPLITS) {
        lead(r, out.first, out.last);
    }
    return out;
}

static void put(uint8_t *set, unsigned first, unsigned last)
{
    for (unsigned c = first; c <= last; c++) {
        set[c >> 3] |= (uint8_t)(1U << (c & 7));
    }
}

static void invert(uint8_t *set)
{
    for (unsigned i = 0; i < 32; i++) {
        set[i] = (uint8_t)~set[i];
    }
}

/* What follows a backslash, added to a set; its one character, or -1. */
static int read_escape(struct reading *r, uint8_t *set)
{
    uint8_t some[32] = {0};
    const char c = *r->at++;
    const char low = (char)(c | 0x20);

    if (low == 'd' || low == 'w' || low == 's') {
        put(some, '0', '9');
        if (low == 'w') {
            put(some, 'a', 'z');
            put(some, 'A', 'Z');
            put(some, '_', '_');
            put(some, 0x80, 0xff);
        } else if (low == 's') {
            memset(some, 0, sizeof(some));
            put(some, '\t', '\r');
            put(some, 0x1c, ' ');
        }
        if (c != low) {
            invert(some);
        }
        for (unsigned i = 0; i < 32; i++) {
            set[i] |= some[i];
        }
        return -1;
    }
    if (c == 0 || (c >= '0' && c <= '9') || (low >= 'a' && low <= 'z')) {
        r->why = "it has a backslash before what is not read so";
        r->at -= c == 0;
        return -1;
    }
    put(set, (uint8_t)c, (uint8_t)c);
    return (uint8_t)c;
}

static void read_class(struct reading *r, uint8_t *set)
{
    const bool not = *r->at == '^';
    bool first = true;

    r->at += not ;
    for (; *r->at && (*r->at != ']' || first) && !r->why; first = false) {
        int from = (uint8_t)*r->at++;
        if (from == '\\') {
            from = read_escape(r, set);
        } else {
            put(set, (unsigned)from, (unsigned)from);
        }
        if (from >= 0 && r->at[0] == '-' && r->at[1] && r->at[1] != ']') {
            const int to = (uint8_t)r->at[1];
            r->at += 2;
            r->why = to == '\\' || to < from ? "it has a range that is not read" : r->why;
            put(set, (unsigned)from, r->why ? (unsigned)from : (unsigned)to);
        }
    }
    if (*r->at == ']') {
        r->at++;
    } else if (!r->why) {
        r->why = "a class has no end";
    }
    if (not ) {
        invert(set);
    }
}

static struct piece read_group(struct reading *r)
{
    struct piece out = {0, 0};

    if (r->at[0] == '?' && r->at[1] == ':') {
        r->at += 2;
    } else if (r->at[0] == '?') {
        r->why = "it has a group that looks around, has a name or sets flags";
        return out;
    }
    if (++r->depth > MAX_DEPTH) {
        r->why = "its groups are too deep";
        return out;
    }
    out = read_choice(r);
    r->depth--;
    if (*r->at == ')') {
        r->at++;
    } else if (!r->why) {
        r->why = "a group has no end";
    }
    return out;
}

static struct piece read_one(struct reading *r)
{
    const char c = *r->at++;
    struct piece out = {0, 0};
    uint8_t *set = NULL;

    if (c == '(') {
        return read_group(r);
    }
    if (c == '^' || c == '$') {
        return one_state(r, c == '^' ? BEGINS : ENDS);
    }
    if (strchr("*+?{", c)) {
        r->why = "it repeats nothing";
        return out;
    }
    out = one_state(r, TAKES);
    set = r->p->states[out.first].set;
    if (c == '\\') {
        (void)read_escape(r, set);
    } else if (c == '[') {
        read_class(r, set);
    } else if (c == '.') {
        put(set, 0, 0xff);
        set['\n' >> 3] &= (uint8_t) ~(1U << ('\n' & 7));
    } else {
        put(set, (uint8_t)c, (uint8_t)c);
    }
    return out;
}

static unsigned read_number(struct reading *r)
{
    unsigned n = 0;

    for (; *r->at >= '0' && *r->at <= '9'; r->at++) {
        n = n * 10 + (unsigned)(*r->at - '0');
        if (n > MAX_COUNT) {
            r->why = "it repeats too often";
            n = 0;
        }
    }
    return n;
}

/* How often; most NONE: any number of times. False: once, nothing is said. */
static bool read_count(struct reading *r, unsigned *least, unsigned *most)
{
    const char c = *r->at;

    *least = c == '+';
    *most = c == '?' ? 1 : NONE;
    if (c == 0 || !strchr("*+?{", c)) {
        return false;
    }
    r->at++;
    if (c == '{') {
        const char *begin = r->at;
        *least = read_number(r);
        *most = *least;
        if (*r->at == ',') {
            r->at++;
            *most = *r->at == '}' ? NONE : read_number(r);
        }
        if (*r->at != '}' || r->at == begin || *most < *least) {
            r->why = r->why ? r->why : "it has a count that is not read";
            return false;
        }
        r->at++;
    }
    r->at += *r->at == '?';
    if (*r->at && strchr("*+?{", *r->at)) {
        r->why = "it repeats a repetition";
    }
    return !r->why;
}

/* The piece any number of times. */
static struct piece any_times(struct reading *r, struct piece piece)
{
    const uint16_t split = add_state(r, SPLITS);
    const uint16_t last = add_state(r, SPLITS);

    lead(r, split, piece.first);
    lead(r, split, last);
    lead(r, piece.last, split);
    return (struct piece){split, last};
}

static struct piece maybe(struct reading *r, struct piece piece)
{
    const uint16_t split = add_state(r, SPLITS);

    lead(r, split, piece.first);
    lead(r, split, piece.last);
    return (struct piece){split, piece.last};
}

static struct piece again(struct reading *r, const char *text)
{
    const char *after = r->at;
    struct piece out;

    r->at = text;
    out = read_one(r);
    r->at = after;
    return out;
}

static struct piece repeat(struct reading *r, const char *text, struct piece first,
                           unsigned least, unsigned most)
{
    struct piece all = one_state(r, SPLITS);
    const unsigned n = most == NONE ? least + 1 : most;

    for (unsigned i = 0; i < n && !r->why; i++) {
        struct piece one = i == 0 ? first : again(r, text);
        if (r->why) {
            break;
        }
        if (i >= least) {
            one = most == NONE ? any_times(r, one) : maybe(r, one);
        }
        lead(r, all.last, one.first);
        all.last = one.last;
    }
    return all;
}

static struct piece read_row(struct reading *r)
{
    struct piece all = one_state(r, SPLITS);

    while (*r->at && *r->at != '|' && *r->at != ')' && !r->why) {
        const char *text = r->at;
        struct piece one = read_one(r);
        unsigned least = 1;
        unsigned most = 1;
        if (!r->why && read_count(r, &least, &most)) {
            one = repeat(r, text, one, least, most);
        }
        if (!r->why) {
            lead(r, all.last, one.first);
            all.last = one.last;
        }
    }
    return all;
}

static struct piece read_choice(struct reading *r)
{
    struct piece all = read_row(r);

    while (*r->at == '|' && !r->why) {
        const uint16_t split = add_state(r, SPLITS);
        const uint16_t last = add_state(r, SPLITS);
        r->at++;
        const struct piece other = read_row(r);
        if (!r->why) {
            lead(r, split, all.first);
            lead(r, split, other.first);
            lead(r, all.last, last);
            lead(r, other.last, last);
            all = (struct piece){split, last};
        }
    }
    return all;
}

/* Classes of characters that are more than a byte are not needed for names of modules. */
static void check_text(struct reading *r)
{
    const char *text = r->at;

    while (*r->at && (uint8_t)*r->at < 0x80 && r->at - text <= MAX_BYTES) {
        r->at++;
    }
    if (r->at - text > MAX_BYTES) {
        r->why = "it is too long";
    } else if (*r->at) {
        r->why = "it has a character that is not ASCII";
    } else {
        r->at = text;
    }
}

static void read_all(struct reading *r)
{
    struct piece all;

    r->p->n = 0;
    r->p->round = 0;
    all = read_choice(r);
    if (!r->why && *r->at) {
        r->why = "a group ends that has not begun";
    }
    if (!r->why) {
        const uint16_t done = add_state(r, DONE);
        lead(r, all.last, done);
        r->p->first = all.first;
    }
    memset(r->p->mark, 0, r->p->n * sizeof(*r->p->mark));
}

enum ww_err ww_pattern_new(const char *text, struct ww_pattern **out,
                           struct ww_error *err)
{
    struct reading r = {.at = text};

    *out = NULL;
    check_text(&r);
    if (!r.why) {
        r.p = ww_alloc_aligned(sizeof(void *), sizeof(*r.p)); /* few states are used */
    }
    if (!r.why && !r.p) {
        return WW_FAIL_MEMORY(err, "a regular expression");
    }
    if (!r.why) {
        read_all(&r);
    }
    if (r.why) {
        ww_free(r.p);
        return WW_FAIL(err, WW_E_UNSUPPORTED, "%s, at its byte %zu", r.why,
                       (size_t)(r.at - text));
    }
    *out = r.p;
    return WW_OK;
}

void ww_pattern_free(struct ww_pattern *pattern)
{
    ww_free(pattern);
}

/* All states that can be reached from one without a character. */
static unsigned reach(struct ww_pattern *p, uint16_t from, uint16_t *list, unsigned n,
                      bool begins, bool ends)
{
    unsigned top = 0;

    p->stack[top++] = from;
    while (top > 0) {
        const uint16_t at = p->stack[--top];
        const struct state *s = &p->states[at];
        if (p->mark[at] == p->round) {
            continue;
        }
        p->mark[at] = p->round;
        if (s->kind == TAKES || s->kind == DONE) {
            list[n++] = at;
        } else if (s->kind == SPLITS || (s->kind == BEGINS ? begins : ends)) {
            for (unsigned i = 0; i < 2 && s->next[i] != NONE; i++) {
                p->stack[top++] = s->next[i];
            }
        }
    }
    return n;
}

/* The states that a character leads to from those that it is in. */
static unsigned step(struct ww_pattern *p, unsigned n, uint8_t c, bool ends)
{
    unsigned m = 0;

    p->round++;
    for (unsigned i = 0; i < n; i++) {
        const struct state *s = &p->states[p->now[i]];
        if (s->kind == TAKES && (s->set[c >> 3] >> (c & 7) & 1)) {
            m = reach(p, s->next[0], p->then, m, false, ends);
        }
    }
    memcpy(p->now, p->then, m * sizeof(*p->now));
    return m;
}

static bool fits(struct ww_pattern *p, const char *name, bool after_dots)
{
    unsigned n = 0;

    p->round++;
    n = reach(p, p->first, p->now, 0, true, *name == 0);
    while (*name) {
        const uint8_t c = (uint8_t)*name++;
        while (((uint8_t)*name & 0xc0) == 0x80) {
            name++; /* the rest of one character */
        }
        n = step(p, n, c, *name == 0);
        if (after_dots && c == '.') {
            n = reach(p, p->first, p->now, n, false, *name == 0);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (p->states[p->now[i]].kind == DONE) {
            return true;
        }
    }
    return false;
}

bool ww_pattern_fits(struct ww_pattern *p, const char *name)
{
    return fits(p, name, false);
}

bool ww_pattern_fits_end(struct ww_pattern *p, const char *name)
{
    return fits(p, name, true);
}

bool ww_pattern_plain_fits_end(const char *text, const char *name, bool *fits)
{
    const size_t k = strlen(text);
    const size_t n = strlen(name);
    const char *end = k <= n ? name + n - k : name;

    if (k == 0 || text[strspn(text, PLAIN)]) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (name[i] < ' ' || name[i] > '~') { /* '.' takes no line end */
            return false;
        }
    }
    *fits = k <= n && (end == name || end[-1] == '.');
    for (size_t i = 0; i < k && *fits; i++) {
        *fits = text[i] == '.' || text[i] == end[i];
    }
    return true;
}
