/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Models behind servers: what they can do, and what they say about items of a task file.
 * Every answer is kept in a cache before it counts, so nothing is asked twice.
 */
#ifndef WEIGHTWARD_EVO_H
#define WEIGHTWARD_EVO_H

#include "weightward/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What members are compared by. */
enum ww_evo_level {
    WW_EVO_TOKENS,  /* of one tokenizer, which all members must have */
    WW_EVO_OPTIONS, /* an item's options as wholes; any tokenizers */
    WW_EVO_BYTES    /* of the answer, one after the other; any tokenizers, more calls */
};

struct ww_collect_options {
    const char *pool;     /* YAML file of members */
    const char *tasks;    /* JSON lines */
    const char *cache;    /* folder, made when it is not there */
    unsigned top;         /* likeliest tokens asked for at each position; 0: 20 */
    unsigned connections; /* at once, all members together; 0: 4; at most 256 */
    unsigned tries;       /* of a call; 0: 6, and 3 s at addresses where nobody listens */
    enum ww_evo_level level;
    /** Limits that are not exceeded; negative: none, and 0 asks for nothing, so a struct
     * of zeros does not collect. Tries count as calls. */
    double max_calls;
    double max_tokens;
    double max_cost; /* in the unit of the pool file's prices */
    double max_seconds;
    /** A drawing of the items, for trials of a search: "search", "again" or "final" by
     * the items' own hashes; NULL: all of them. */
    const char *part;
    uint64_t draw;             /* its seed */
    size_t sample;             /* items; 0: the whole part */
    struct ww_run_options run; /* progress counts items; threads and memory: not used */
};

/** A member as it was found. */
struct ww_evo_member {
    char *name;
    char *dialect;
    bool scores_prompts; /* one call for an item; else one for each token */
    unsigned top;        /* tokens that its lists really have, of those asked for */
    bool bytes;          /* tokens without text can be told from each other */
    bool deterministic;  /* the same answer twice, bit for bit; only by ww_evo_probe */
    bool continues;      /* goes on with an answer that was begun: chats need that */
    bool forces;         /* tells the log-probability of a token that is in no list */
    unsigned adapters;   /* that requests can scale */
    unsigned vocabulary; /* tokens that it says it knows; 0: not told */
    char identity[65];   /* name of the model in permits: of its address and name, hex */
    char canary[65];     /* digest of what it said to a fixed question, hex */
    char *failure;       /* why it could not be probed, or NULL */
};

struct ww_collect_report {
    struct ww_evo_member *members;
    size_t n_members;
    uint64_t items;
    uint64_t items_complete;
    uint64_t answers;       /* in the cache, of these members about these items */
    uint64_t calls;         /* tries made now */
    uint64_t calls_avoided; /* answers that were there */
    uint64_t tokens;
    double cost;
    double seconds;
    uint64_t damaged; /* stretches of the cache that could not be read */
    bool complete;
    char root[65];     /* of the answers' hash tree, hex; "" unless complete */
    char stopped[256]; /* which limit ended it; "" */
};

/** WW_OK also when a limit ended it: look at complete. WW_E_IO, WW_E_KEY, WW_E_NOTFOUND,
 *  WW_E_UNSUPPORTED for a member that cannot be asked; WW_E_CHANGED when another model
 *  stands behind a name; WW_E_UNRELATED for unlike tokenizers; WW_E_CANCELLED. What was
 *  answered until then is kept. */
WW_API enum ww_err ww_evo_collect(const struct ww_collect_options *options,
                                  struct ww_collect_report *report,
                                  struct ww_error *err) WW_MUST_USE;
WW_API void ww_collect_report_release(struct ww_collect_report *report);

/** What a pool's even mixture scores on the items of a drawing. */
struct ww_pool_scores {
    double *scores; /* [n] minus bits per token, by item */
    size_t n;
    size_t right; /* whole answers */
    uint64_t calls;
    /* By this function with this cache, all candidates together. */
    uint64_t all_calls;
    uint64_t all_tokens;
    double all_cost;
};

/** Ask what the cache lacks and score. Limits hold for all that was asked by this
 * function with this cache, in this run and before, side by side too: one waits for the
 * other. WW_E_LIMIT when one ends it; then what was answered is kept. */
WW_API enum ww_err ww_pool_score(const struct ww_collect_options *options,
                                 struct ww_pool_scores *out,
                                 struct ww_error *err) WW_MUST_USE;
WW_API void ww_pool_scores_release(struct ww_pool_scores *scores);

struct ww_probe_report {
    struct ww_evo_member *members;
    size_t n_members;
    size_t n_failed;
    bool compared;      /* at least two members score prompts */
    bool one_tokenizer; /* they cut the probe strings alike */
    char differs[256];  /* which two do not, and where */
    uint64_t calls;
};

/** Ask every member of a pool what it does; nothing is kept. A member that cannot be
 *  asked has its failure in the report, which the caller releases. WW_E_USAGE for a top
 *  that is too large, WW_E_MALFORMED and WW_E_YAML for the pool file. */
WW_API enum ww_err ww_evo_probe(const char *pool, unsigned top,
                                struct ww_probe_report *report,
                                struct ww_error *err) WW_MUST_USE;
/** The report as JSON in a new file. WW_E_EXISTS, WW_E_IO. */
WW_API enum ww_err ww_evo_probe_save(const struct ww_probe_report *report,
                                     const char *path, struct ww_error *err) WW_MUST_USE;
WW_API void ww_probe_report_release(struct ww_probe_report *report);

#ifdef __cplusplus
}
#endif
#endif
