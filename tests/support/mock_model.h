/* SPDX-License-Identifier: Apache-2.0 */
/* The "model" of the stand-in: a rule that gives every sign a log-probability. */
#ifndef MOCK_MODEL_H
#define MOCK_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "json/json.h"

#define SIGNS "abcdefghijklmnopqrstuvwxyz =:"
#define N_SIGNS 29 /* and the end token */
#define END "</s>"
#define SPLIT 4 /* the sign that is part of a character, with --splits */
#define MAX_FAULTS 8
#define MAX_TOKENS 4096
#define MAX_ADAPTERS 8

struct mock {
    const char *model;
    const char *skill;
    const char *shape;
    const char *key;
    uint32_t seed;
    unsigned delay_ms;
    uint16_t port;
    int calls;
    bool pairs;
    bool continues;
    bool hides_end;
    bool shifts;
    bool narrow;
    bool splits;
    unsigned adapters;
    unsigned vocabulary; /* that it tells of; 0: none */
    unsigned turn;       /* 0: never */
    unsigned stall_s;
    struct {
        char name[16];
        unsigned every;
    } fault[MAX_FAULTS];
    size_t n_faults;
};
extern struct mock mock;

extern atomic_uint questions;
extern _Thread_local double scale[MAX_ADAPTERS]; /* of the question */

/** Log-probabilities of all signs and the end, after text. */
void distribution(const char *text, size_t len, double lp[N_SIGNS + 1]);
/** The likeliest top signs, best first. */
unsigned likeliest(const double *lp, unsigned top, int *out);
const char *sign_text(int s, char room[2]);
/** -1: none. */
int sign_of(const char *text);

struct cut {
    size_t from[MAX_TOKENS];
    size_t len[MAX_TOKENS];
    size_t n;
};

void cut_text(const char *text, size_t len, struct cut *c);
/** Of token i; lp: of all signs there. */
double token_logprob(const char *text, const struct cut *c, size_t i, double *lp);

/** Is the likeliest sign behind text part of a character? */
bool begins_split(const char *text);
void write_usage(struct ww_jw *w, size_t tokens);

/** Does a fault of this name fall on this question? */
bool faulty(const char *name, unsigned number);

/* Answers of the usual kinds, mock_answers.c. */
void answer_completions(const struct ww_jnode *q, struct ww_jw *w, unsigned number);
void answer_llama(const struct ww_jnode *q, struct ww_jw *w, unsigned number);
void answer_chat(const struct ww_jnode *q, struct ww_jw *w);
/* Those of other servers, mock_native.c. */
void answer_vllm(const struct ww_jnode *q, struct ww_jw *w);
void answer_sglang(const struct ww_jnode *q, struct ww_jw *w);
void answer_tgi(const struct ww_jnode *q, struct ww_jw *w);
void answer_ollama(const struct ww_jnode *q, struct ww_jw *w);
void write_number(struct ww_jw *w, const char *text, uint64_t id);

#endif
