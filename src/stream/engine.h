/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Inside the executor: what is in flight, and who may touch it.
 *
 *   cut     (calling thread)  plan -> jobs: consecutive bytes of one output, about 8 MiB
 *   admit   (calling thread)  buffers for a job, in plan order, all or none
 *   read    (reader threads)  loads: ranges of inputs
 *   tiles   (workers)         kernels, copies; any order
 *   feed    (workers)         source digests and roots; in order per input
 *   hash    (workers)         output digests; in order per file
 *   leaves  (workers)         tensor tree; any order, but for leaves across two jobs
 *   write   (writer threads)  in any order; a file is finished when its jobs are done
 *
 * Everything in struct ww_engine is under its lock, but for buffer contents: those are
 * written by one stage and read by the next, handed over through the lock. No stage waits
 * for a job that is not admitted yet, which is why a bounded arena cannot lock up.
 */
#ifndef WW_STREAM_ENGINE_H
#define WW_STREAM_ENGINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "stream/arena.h"
#include "stream/direct.h"
#include "stream/input_tree.h"
#include "stream/list.h"
#include "stream/out.h"
#include "stream/plan.h"
#include "stream/stream.h"
#include "stream/worker.h"

#define WW_MIN_MEMORY (16 * WW_MIB)
#define WW_READ_STEP (4 * WW_MIB)
#define WW_WARM_BYTES (48 * WW_MIB) /* and for each worker: */
#define WW_WARM_EACH (16 * WW_MIB)
#define WW_TILE_BYTES WW_MIB
#define WW_TILE_POINTERS 16384u
#define WW_READERS 4u
#define WW_WRITERS 3u
#define WW_MAX_WORKERS 16u

/** Bytes of one input, wanted by jobs, by the input's digest, or both. */
struct ww_load {
    uint32_t input;
    uint64_t offset; /* first wanted byte */
    uint64_t n_bytes;
    uint32_t *rows; /* own; a gather: these rows of a tensor at offset */
    size_t n_rows;
    uint64_t row_bytes;
    uint8_t *buf;        /* arena; NULL for bytes the plan holds in memory */
    const uint8_t *data; /* the wanted bytes */
    uint64_t read_at;    /* bytes of buf already asked for */
    unsigned reading;    /* requests under way */
    bool in_memory;
    bool whole; /* of a piece, shared by its jobs: not to be extended */
    bool early; /* read before there is a job for it, which puts it in line */
    bool admitted;
    bool ready;
    bool feeds;    /* next in line for its input's digest */
    unsigned refs; /* jobs, the piece it is whole for, the digest, the tree */
    struct ww_node read_node;
    struct ww_node feed_node;
    struct ww_node walk_node;
    struct ww_node all_node;
};

/** A piece between the opening of its kernel and its last tile and leaf. */
struct ww_live {
    const struct ww_piece *piece;
    uint64_t row_bytes;        /* 1 for pieces without a kernel */
    uint64_t source_row_bytes; /* the same unless the piece says otherwise */
    uint64_t n_rows;
    uint64_t tile_rows;
    uint64_t n_tiles;
    void *state;
    const uint32_t *row_map;
    bool opened;
    struct ww_load **whole; /* own: the sources, when row_map or open needs them */
    uint32_t n_whole;       /* all of them or 0 */
    uint64_t tiles_left;
    uint64_t leaves_left;
    uint64_t n_leaves;
    uint8_t (*leaves)[WW_SHA256_BYTES];
    bool cut; /* all its jobs are made up */
    struct ww_node closing_node;
    struct ww_node all_node;
};

struct ww_part_source {
    struct ww_load *load;
    uint64_t at; /* where row `base_row` lies in the load */
};

/** Consecutive tiles of one piece in a job. */
struct ww_part {
    struct ww_live *live;
    uint64_t first_row;
    uint64_t n_rows;
    uint64_t piece_offset;
    uint64_t n_bytes;
    uint64_t out_at; /* in the job */
    uint64_t next_tile;
    uint64_t end_tile;
    uint64_t next_leaf; /* leaves that lie in this part whole */
    uint64_t end_leaf;
    uint64_t head;  /* first bytes: of a leaf that an earlier job began */
    bool head_ends; /* and which ends here */
    uint64_t tail;  /* last bytes: of a leaf that goes on in the next job */
    uint64_t base_row;
    uint32_t *slots;                /* own; of a gather: slot of each output row */
    struct ww_part_source *sources; /* own */
};

struct ww_job {
    uint32_t output; /* WW_NONE: read for a digest only */
    bool last;       /* of its output */
    uint64_t file_offset;
    uint64_t n_bytes;
    uint8_t *buf; /* arena; file_offset rounded down to a page */
    uint8_t *out; /* file_offset */
    struct ww_part *parts;
    size_t n_parts;
    size_t part_capacity;
    struct ww_load **loads;
    size_t n_loads;
    size_t load_capacity;
    size_t tile_part; /* cursors over parts */
    size_t leaf_part;
    uint64_t tiles_left;
    uint64_t leaves_left;
    bool admitted;
    bool made;
    bool hashed;
    bool written;
    struct ww_node stage_node; /* waiting for loads, then for tiles, then for writing */
    struct ww_node leaf_node;
    struct ww_node seal_node;
    struct ww_node hash_node;
    struct ww_node all_node;
};

/** An output file in the making. */
struct ww_file {
    uint32_t output;
    struct ww_sink sink;
    struct ww_sha sha;
    struct ww_sha leaf;     /* the leaf that goes on in the next job */
    struct ww_node to_seal; /* jobs in file order */
    struct ww_node to_hash;
    bool hashing; /* queued or being hashed */
    bool cut;
    uint64_t jobs_open;
    uint8_t carry[WW_IO_PAGE]; /* the file's last page so far, up to a job's end */
    struct ww_node hash_node;
    struct ww_node finish_node;
};

/** The digest of one input, or its tensors' roots, fed in offset order. */
struct ww_feed {
    bool wanted;
    struct ww_sha sha;
    struct ww_input_walk *walk;   /* instead of sha; NULL: it is the digest */
    uint64_t cut_at;              /* everything before is in line (calling thread only) */
    const struct ww_job *cut_job; /* whose load came last, to be compared only */
    struct ww_node line;          /* loads */
    bool busy;                    /* queued or being hashed */
    struct ww_node node;
};

struct ww_engine {
    const struct ww_plan *plan;
    struct ww_out *out; /* NULL: dry */
    const struct ww_run_options *options;
    struct ww_stream_result *result;
    uint64_t memory;
    unsigned n_workers;
    bool fast_sha;
    pthread_t threads[WW_MAX_WORKERS + WW_READERS + WW_WRITERS];
    unsigned n_threads;
    struct ww_worker workers[WW_MAX_WORKERS];
    struct ww_writer writers[WW_WRITERS];
    unsigned n_writers;

    pthread_mutex_t lock;
    pthread_cond_t work; /* for workers */
    pthread_cond_t read;
    pthread_cond_t write;
    pthread_cond_t main; /* memory came free, something ended */
    bool stop;           /* no work will come any more, or failed */
    enum ww_err failed;
    struct ww_error error;

    struct ww_arena *arena;
    size_t arena_bytes;
    struct ww_source *sources; /* n_inputs */
    struct ww_feed *feeds;     /* n_inputs */
    struct ww_feed *walks;     /* n_inputs; the same for roots, cut as feeds are */
    struct ww_input_walk *input_walks; /* n_inputs */
    struct ww_file *files;             /* n_outputs */

    struct ww_node waiting;  /* jobs with loads not ready */
    struct ww_node tiles;    /* jobs with tiles to start */
    struct ww_node leaves;   /* jobs with leaves to start */
    struct ww_node hashes;   /* files with a job to hash */
    struct ww_node feeding;  /* feeds with a load to hash */
    struct ww_node reads;    /* loads with ranges to ask for */
    struct ww_node writes;   /* jobs */
    struct ww_node finishes; /* files */
    struct ww_node closing;  /* pieces for the calling thread to close */
    struct ww_node all_jobs;
    struct ww_node all_loads;
    struct ww_node all_lives;
    uint64_t jobs_open;
    uint64_t jobs_admitted; /* of these; nothing that they wait for is not admitted */
    bool slow;              /* something was not in the page cache */
    uint64_t feeds_open;
    uint64_t files_open;
    uint64_t lives_open;
    uint64_t done_bytes; /* of outputs, for progress */
    struct ww_run_report report;
};

/* flow.c: moves between stages; the lock is held. */
bool ww_flow_admit(struct ww_engine *e, struct ww_job *job);
void ww_flow_load_read(struct ww_engine *e, struct ww_load *load);
void ww_flow_tile_done(struct ww_engine *e, struct ww_job *job, struct ww_live *live);
void ww_flow_leaf_done(struct ww_engine *e, struct ww_job *job, struct ww_live *live);
void ww_flow_hashed(struct ww_engine *e, struct ww_file *file, struct ww_job *job);
void ww_flow_fed(struct ww_engine *e, struct ww_feed *feed, struct ww_load *load);
void ww_flow_written(struct ww_engine *e, struct ww_job *job);
void ww_flow_finished(struct ww_engine *e);
void ww_flow_live_cut(struct ww_engine *e, struct ww_live *live);
/** Bytes of a buffer: whole pages where a file is at its other end. The lock need not be
 *  held. */
uint64_t ww_load_room(const struct ww_load *load);
uint64_t ww_job_room(const struct ww_job *job);

/* cut.c: plan to jobs. */
struct ww_cut;
enum ww_err ww_cut_new(struct ww_engine *e, struct ww_cut **out,
                       struct ww_error *err) WW_MUST_USE;
void ww_cut_free(struct ww_cut *cut);
/** The next job in plan order, NULL at the end. */
enum ww_err ww_cut_next(struct ww_cut *cut, struct ww_job **job,
                        struct ww_error *err) WW_MUST_USE;

/* part.c: which bytes of which inputs a part of a job needs. */
struct ww_job *ww_job_new(struct ww_engine *e);
struct ww_load *ww_load_new(struct ww_engine *e, uint32_t input, uint64_t offset,
                            uint64_t n_bytes);
enum ww_err ww_job_add_load(struct ww_engine *e, struct ww_job *job, struct ww_load *load,
                            struct ww_error *err) WW_MUST_USE;
enum ww_err ww_job_add_part(struct ww_engine *e, struct ww_job *job, struct ww_live *live,
                            uint64_t first_tile, uint64_t n_tiles,
                            struct ww_error *err) WW_MUST_USE;
/** Free what failed or ended; buffers go back to the arena. */
void ww_job_free(struct ww_engine *e, struct ww_job *job);
void ww_load_free(struct ww_engine *e, struct ww_load *load);

/* early.c: sources that are read before the kernel of their piece is opened. */
struct ww_early {
    struct ww_load *loads[WW_MAX_SOURCES];
    uint32_t n; /* 0: none */
};
/** job_bytes: of the largest buffer of a job. The lock is not held. */
bool ww_early_wanted(struct ww_engine *e, const struct ww_piece *piece,
                     uint64_t job_bytes);
/** A job without output that reads them. */
enum ww_err ww_early_job(struct ww_engine *e, const struct ww_piece *piece,
                         struct ww_early *early, struct ww_job **job,
                         struct ww_error *err) WW_MUST_USE;
/** Wait until they are there, or the run has failed. The lock is not held. */
enum ww_err ww_early_wait(struct ww_engine *e, const struct ww_early *early) WW_MUST_USE;

/* live.c: pieces being worked on. */
/** early: what was read for the piece, which takes it over. */
enum ww_err ww_live_open(struct ww_engine *e, const struct ww_piece *piece,
                         struct ww_early *early, struct ww_live **out,
                         struct ww_error *err) WW_MUST_USE;
/** Close the kernel, and when complete give the tensor's root; frees live. */
enum ww_err ww_live_close(struct ww_engine *e, struct ww_live *live, bool complete,
                          struct ww_error *err) WW_MUST_USE;
uint64_t ww_live_tile_bytes(const struct ww_live *live);

/* work.c: one unit of work; the lock is not held. */
/** lane: NULL, or what the kernel may hash on its way. */
enum ww_err ww_work_tile(struct ww_worker *w, const struct ww_job *job,
                         const struct ww_part *part, uint64_t tile, struct ww_lane *lane,
                         struct ww_error *err) WW_MUST_USE;
/** Read one range of a load: bytes [at, at + n) of its buffer. */
enum ww_err ww_work_read(struct ww_engine *e, const struct ww_load *load, uint64_t at,
                         uint64_t n, struct ww_error *err) WW_MUST_USE;

/* lanes.c: digests. */
/** Hash the messages at hand until one of them ends, or some of one; the lock is held on
 *  entry and exit. False when there is nothing, or with pair_only less than two. */
bool ww_lanes_run(struct ww_engine *e, struct ww_worker *w, bool pair_only);
/** A message to hash beside a tile: the one at hand, or a file's that waits; NULL: none.
 *  The lock is held. */
struct ww_lane *ww_lanes_lend(struct ww_engine *e, struct ww_worker *w);
/** Behind the tile, without the lock: hash what is not worth another one. True when the
 *  lane's message has ended, or its part of it: to be told with the lock held again. */
bool ww_lanes_settle(struct ww_engine *e, struct ww_lane *lane);
void ww_lanes_end(struct ww_engine *e, struct ww_lane *lane);

/* crew.c: the threads. */
/** First failure wins; everyone is woken to leave. Takes the lock. */
void ww_engine_fail(struct ww_engine *e, enum ww_err code, const struct ww_error *err);
enum ww_err ww_crew_start(struct ww_engine *e, struct ww_error *err) WW_MUST_USE;
void ww_crew_join(struct ww_engine *e);

#endif
