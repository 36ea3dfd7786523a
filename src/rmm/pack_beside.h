/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Sources of a merge coded while the merge is computed. The engine shows bytes of the
 * sources and of the output side by side; chunks of members are put together of them,
 * coded at once, and wait in a file without a name until the package is written, which
 * reads none of it again. A chunk's bytes depend on its input alone, so the package is
 * the one that reading everything again would give.
 */
#ifndef WW_RMM_PACK_BESIDE_H
#define WW_RMM_PACK_BESIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "merge/watch.h"
#include "rmm/base_use.h"
#include "rmm/chunk.h"
#include "rmm/member.h"

#define WW_BESIDE_MOST_MEMBERS 16
#define WW_BESIDE_MOST_ROOMS 16

/** Where a coded chunk waits. */
struct ww_beside_chunk {
    uint64_t at;
    uint32_t len; /* 0: it was not coded */
};

/** A tensor of the merge that all members can be predicted in; sources: per place. */
struct ww_beside_tensor {
    const char *name; /* own */
    bool is;          /* false: it is not coded beside the merge */
    enum ww_dtype dtype;
    uint64_t n_bytes;
    uint32_t n_chunks;
    struct ww_beside_chunk *chunks; /* [n_chunks * n_wanted], by chunk, then member */
    atomic_uint missing;            /* of those */
    uint8_t root[WW_SHA256_BYTES];  /* of the output's, by its end */
};

/** A chunk that tiles fill in parts. */
struct ww_beside_open {
    uint32_t tensor;
    uint32_t chunk;
    uint64_t left;
    uint8_t *bytes; /* per member: of it, and of its prediction */
    struct ww_beside_open *next;
};

/** A weight file of a source, as the merge has read it. */
struct ww_beside_file {
    char *name;
    struct stat st;
    uint8_t sha256[WW_SHA256_BYTES];
};

struct ww_beside_source {
    uint32_t model; /* of the plan */
    uint8_t tree[WW_SHA256_BYTES];
    struct ww_beside_file *files;
    uint32_t n_files;
};

struct ww_beside_room {
    struct ww_chunk_room *room;
    struct ww_buf coded;
    uint8_t *bytes; /* rows of a tile begin anywhere */
    uint8_t *prediction;
    bool taken;
};

struct ww_pack_beside {
    struct ww_merge_watch watch;
    const char *package; /* borrowed, as these: */
    const char *const *sources;
    size_t n_sources;
    size_t n_wanted;
    unsigned n_threads;
    uint64_t memory;
    bool is; /* this merge is one sum, and chunks are coded */
    bool ended;
    int fd;
    atomic_uint_fast64_t at;
    struct ww_merge_inverse *inverses;    /* [n_wanted] */
    struct ww_unmerge *mixes;             /* [n_wanted]; no models */
    uint32_t (*rows)[WW_PACK_MAX_OTHERS]; /* [n_wanted]: places of the others */
    struct ww_beside_source *of;          /* [n_sources] */
    struct ww_beside_tensor *tensors;     /* as the plan's */
    uint32_t n_tensors;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t given;
    struct ww_beside_room rooms[WW_BESIDE_MOST_ROOMS];
    unsigned n_rooms;
    struct ww_beside_open *open;
    unsigned n_open;
    unsigned most_open;
};

/** Room for a chunk of each member, whole and predicted. */
size_t ww_beside_open_bytes(const struct ww_pack_beside *beside);
/** A tile of the merge: ww_merge_watch.tile. */
enum ww_err ww_beside_tile(void *beside, const struct ww_merge_seen *seen,
                           struct ww_error *err) WW_MUST_USE;

/** Which of the wanted sources a member is, opened and with the inverse that it is coded
 *  by; SIZE_MAX: none that this knows anything of. */
size_t ww_beside_find(const struct ww_pack_beside *beside, const char *path,
                      const struct ww_unmerge *unmerge);
/** The digest of a file of it, when that is the file that the merge has read. */
bool ww_beside_sha256(const struct ww_pack_beside *beside, size_t source,
                      const char *file, const struct stat *st,
                      uint8_t sha256[WW_SHA256_BYTES]);
/** A tensor of the merged model, when all of its chunks are there. */
const struct ww_beside_tensor *ww_beside_tensor(const struct ww_pack_beside *beside,
                                                const struct ww_model *base,
                                                uint32_t tensor);
/** A chunk of it, of a wanted source; in place of what out held. */
enum ww_err ww_beside_read(const struct ww_pack_beside *beside,
                           const struct ww_beside_tensor *tensor, size_t source,
                           uint64_t chunk, struct ww_buf *out,
                           struct ww_error *err) WW_MUST_USE;

#endif
