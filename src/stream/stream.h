/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The executor: a plan of output files, each a list of pieces in file order, is read,
 * transformed, hashed and written in bounded memory.
 *
 * - Everything is known before the first byte: sizes, sources, kernels. Free space is
 *   checked. The plan has a digest, which a resumed run must meet.
 * - Tiles depend on the tensor only, never on threads or memory, and kernels are pure
 *   functions of their source rows: the bytes are the same for any number of threads.
 * - Output goes to OUT.partial/; each file is preallocated, written, fsynced; when all is
 *   there (small files last) the folder is fsynced and renamed to OUT. A killed run
 *   leaves only OUT.partial. A resumed run derives every byte again, compares it with
 *   what lies there and writes only what is missing: nothing recorded has to be trusted.
 * - An input whose digest is wanted is read once when the pieces take it in order of
 *   offset (gaps included), at most twice when they do not; the digest is always right.
 */
#ifndef WW_STREAM_STREAM_H
#define WW_STREAM_STREAM_H

#include "crypto/hash.h"
#include "crypto/sha.h"
#include "util/buf.h"
#include "util/reader.h"
#include "weightward/model.h"
#include "weightward/run.h"

#define WW_MIB ((uint64_t)1 << 20)
/** Of buffers in all, where run options leave memory_bytes at 0. */
#ifdef __SANITIZE_ADDRESS__ /* a large block costs it more than a small plan does */
#define WW_DEFAULT_MEMORY (64 * WW_MIB)
#else
#define WW_DEFAULT_MEMORY (256 * WW_MIB)
#endif

/** Tensors of an input whose roots are wanted, as the file's own model has them. */
struct ww_input_tree {
    const struct ww_tensor *tensors; /* in offset order, with their place in the file */
    const uint32_t *ranks;           /* by name, over the whole model */
    uint32_t n_tensors;
    uint8_t (*roots)[WW_SHA256_BYTES]; /* n_tensors, filled by the run */
};

/** An open file that pieces read from. */
struct ww_input {
    const char *name; /* for error texts */
    int fd;           /* borrowed */
    uint64_t size_bytes;
    bool want_sha256; /* digest of the whole file in the result */
};

/** What one call of a kernel sees: rows [first_row, first_row + n_rows) of the output. */
struct ww_tile {
    uint64_t first_row;
    uint64_t n_rows;
    uint64_t row_bytes;
    const uint8_t *const *const *rows; /* rows[s][i]: source s's row for output row
                                          first_row + i, already through row_map;
                                          unaligned; row_bytes long, or the piece's
                                          source_row_bytes */
    uint32_t n_sources;
    uint64_t tile_index; /* 0 .. n_tiles-1, depends on the tensor only */
    uint64_t n_tiles;
    uint8_t *out;               /* n_rows * row_bytes, starts 8-byte aligned: it
                                   is the buffer that goes to the disk, and lies
                                   in it as in the file */
    struct ww_sha_rest *beside; /* of a piece that `hashes`: NULL, or bytes of which
                                   the kernel may hash any number on its way */
};

/**
 * A kernel: how a tensor's output rows are made of source rows.
 * open is called once per piece, in plan order, from the calling thread, shortly before
 * the piece's first tile; run from many threads for different tiles at once; close once,
 * from the calling thread, after the last tile (also after failures).
 */
struct ww_kernel {
    const char *name; /* goes into the plan digest */
    enum ww_err (*open)(const void *params, uint64_t n_rows, uint64_t row_bytes,
                        uint64_t n_tiles, void **state, const uint32_t **row_map,
                        struct ww_error *err);
    /* *row_map: source row of each output row, NULL for
       the identity; a borrow until close */
    enum ww_err (*run)(void *state, const struct ww_tile *tile, struct ww_error *err);
    enum ww_err (*close)(void *state, bool complete, struct ww_error *err);
};

/** open and close of a kernel that keeps nothing: params are its state, rows are not
 *  moved. */
enum ww_err ww_kernel_open_plain(const void *params, uint64_t n_rows, uint64_t row_bytes,
                                 uint64_t n_tiles, void **state, const uint32_t **row_map,
                                 struct ww_error *err) WW_MUST_USE;
enum ww_err ww_kernel_close_plain(void *state, bool complete,
                                  struct ww_error *err) WW_MUST_USE;

enum ww_piece_kind {
    WW_PIECE_BYTES, /* bytes given in memory (a header) */
    WW_PIECE_COPY,  /* a range of an input, unchanged */
    WW_PIECE_KERNEL /* a tensor through a kernel */
};

#define WW_MAX_SOURCES 64

/** n_bytes of input, starting at offset; for kernels the whole source tensor. */
struct ww_piece_source {
    uint32_t input;
    uint64_t offset;
};

struct ww_piece {
    enum ww_piece_kind kind;
    uint64_t n_bytes;     /* of output */
    const uint8_t *bytes; /* BYTES: borrowed */
    uint32_t n_sources;   /* COPY: 1; BYTES: 0 or 1 (1: these very bytes are
                             also at the source's offset, so they count as read
                             for its digest); KERNEL: 0 when it reads itself */
    const struct ww_piece_source *sources; /* n_sources of them, borrowed */
    uint64_t n_rows;                       /* KERNEL: n_rows * row_bytes == n_bytes */
    uint64_t row_bytes;
    uint64_t source_row_bytes; /* KERNEL: of a source row when it is not row_bytes,
                                  else 0; then the kernel has no row map */
    const struct ww_kernel *kernel;
    void (*lend)(const void *params, const uint8_t *const *sources);
    /* KERNEL: NULL, or open reads all sources. Where they
       fit they are read once, for open and the tiles, and
       lent to it just before; with NULL just after, when
       they may go */
    bool hashes;        /* KERNEL: has use for ww_tile's `beside` */
    const void *params; /* borrowed; described for the digest by: */
    uint8_t params_digest[WW_SHA256_BYTES];
    uint32_t tree_index; /* index into plan->tree_tensors, or WW_NONE */
};

struct ww_output {
    const char *path;    /* relative to OUT; folders are made */
    uint64_t size_bytes; /* sum of the pieces */
    struct ww_piece *pieces;
    uint32_t n_pieces;
};

/** A tensor of the output whose root is wanted; rank is by name over all of them. */
struct ww_tree_slot {
    const struct ww_tensor *tensor; /* name, dtype, shape, n_bytes as written */
    uint64_t rank;
};

struct ww_plan {
    const char *title; /* "lock": phase name for progress */
    struct ww_input *inputs;
    uint32_t n_inputs;
    const struct ww_reader *const *readers; /* NULL, or for each input: what reads it,
                                       when its bytes lie in no file; else NULL */
    const struct ww_input_tree *const *input_trees; /* NULL, or for each input: NULL, or
                                       tensors whose roots come from the same reading as
                                       its digest, which must be wanted too */
    struct ww_output *outputs;
    uint32_t n_outputs;
    struct ww_tree_slot *tree;
    uint32_t n_tree;
    uint64_t warm_bytes; /* 0, or so many buffers in use are enough to read
                            ahead what lies in the page cache */
    bool buffered;       /* inputs are read through the page cache, where their
                            bytes lie already because kernels looked at them */
};

/** Rows of a piece's tiles, the last may have fewer: what a kernel's tile_index counts.
 *  Depends on row length and number of sources alone. */
uint64_t ww_piece_tile_rows(const struct ww_piece *piece);

/** SHA-256 over the plan's content: outputs, pieces, kernel names and parameters, input
 *  sizes. Threads and memory do not enter. */
enum ww_err ww_plan_digest(const struct ww_plan *plan, uint8_t out[WW_SHA256_BYTES],
                           struct ww_error *err) WW_MUST_USE;

/** An output folder in the making. */
struct ww_out;

/** OUT exists and will be refused: remove the journal that a run killed after its last
 *  rename left beside it. Quiet when there is nothing to do. */
void ww_out_tidy(const char *path);

/** Make (or, with resume, reopen) OUT.partial. WW_E_EXISTS when OUT is there, or
 *  OUT.partial without resume, or OUT.partial of another plan; WW_E_NOSPACE when the file
 *  system cannot hold extra_bytes more. */
enum ww_err ww_out_begin(const char *path, const struct ww_plan *plan,
                         uint64_t extra_bytes, const struct ww_run_options *options,
                         struct ww_out **out, struct ww_error *err) WW_MUST_USE;

struct ww_stream_result {
    uint8_t (*output_sha256)[WW_SHA256_BYTES]; /* n_outputs */
    uint8_t (*input_sha256)[WW_SHA256_BYTES];  /* n_inputs; zero where not wanted */
    uint8_t (*tensor_root)[WW_SHA256_BYTES];   /* n_tree */
    uint64_t most_buffers;                     /* bytes of buffers in use at once */
    struct ww_run_report report;
};
void ww_stream_result_release(struct ww_stream_result *result);

/** Run the plan into OUT.partial. dry: run kernels and hash, write nothing (out NULL).
 *  options may be NULL. Least memory: 16 MiB (WW_E_USAGE below). WW_E_LIMIT when one row
 *  of all sources and the output is more than about half of the memory; WW_E_CHANGED when
 *  an input is not what it was; WW_E_CANCELLED. */
enum ww_err ww_stream_run(const struct ww_plan *plan, struct ww_out *out,
                          const struct ww_run_options *options,
                          struct ww_stream_result *result,
                          struct ww_error *err) WW_MUST_USE;

/** Add or replace a small file below OUT.partial (manifest, signature). */
enum ww_err ww_out_add(struct ww_out *out, const char *path, const void *bytes,
                       size_t len, struct ww_error *err) WW_MUST_USE;
/** Descriptor of OUT.partial, borrowed. */
int ww_out_dirfd(const struct ww_out *out);
/** fsync the folders (files were when they were written), drop the journal, rename to
 *  OUT, never over something. WW_E_USAGE before ww_stream_run has succeeded. */
enum ww_err ww_out_commit(struct ww_out *out, struct ww_error *err) WW_MUST_USE;
/** Close. Not committed: remove OUT.partial, or leave it for --resume when keep. */
void ww_out_close(struct ww_out *out, bool keep);

/** Digests of files, each read once with read-ahead. SHA-256 of two files at a time goes
 *  by one worker where the processor can do that. fds borrowed. */
struct ww_hash_job {
    int fd;
    const char *name;
    uint64_t size_bytes;
    uint8_t digest[WW_DIGEST_MAX_BYTES];
};
enum ww_err ww_hash_files(struct ww_hash_job *jobs, size_t n, const char *algorithm,
                          const char *phase, const struct ww_run_options *options,
                          struct ww_error *err) WW_MUST_USE;

#endif
