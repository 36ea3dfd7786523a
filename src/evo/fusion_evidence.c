/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fusion recipe was made of, as provenance beside it. Members are known by their
 * answer to a fixed question and by their owner's permit: nobody outside a server has its
 * weights. What they said is known by the root of the hash tree over all answers, what
 * they were asked by the files of tasks.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "evidence/beside.h"
#include "evo/fusion.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define FILES_OF_ONE 2
#define OTHERS 3 /* tasks, held-out tasks, answers */

struct making {
    const struct ww_fusion *f;
    struct ww_provenance_source sources[WW_POOL_MAX_MEMBERS + OTHERS];
    struct ww_resource files[WW_POOL_MAX_MEMBERS + OTHERS][FILES_OF_ONE];
    uint64_t sizes[WW_POOL_MAX_MEMBERS + OTHERS][FILES_OF_ONE];
    size_t n;
};

static void add(struct making *m, const char *name)
{
    m->sources[m->n] = (struct ww_provenance_source){
        .name = name, .files = m->files[m->n], .sizes = m->sizes[m->n]};
    m->n++;
}

/* Of the last source. */
static void add_file(struct making *m, const char *name,
                     const uint8_t sha256[WW_SHA256_BYTES], uint64_t bytes)
{
    struct ww_provenance_source *s = &m->sources[m->n - 1];
    const size_t at = s->n_files++;

    m->files[m->n - 1][at].name = name;
    memcpy(m->files[m->n - 1][at].sha256, sha256, WW_SHA256_BYTES);
    m->sizes[m->n - 1][at] = bytes;
}

static void add_tasks(struct making *m, const char *path,
                      const uint8_t sha256[WW_SHA256_BYTES])
{
    struct stat st = {0};

    (void)stat(path, &st);
    add(m, ww_path_base(path));
    add_file(m, ww_path_base(path), sha256, (uint64_t)st.st_size);
}

static void collect(struct making *m, const struct ww_fusion_paths *paths)
{
    const struct ww_fusion *f = m->f;

    for (uint32_t i = 0; i < f->k; i++) {
        const struct ww_fusion_member *member = &f->member[i];
        add(m, member->name);
        add_file(m, "answer to a fixed question", member->canary, 0);
        if (member->has_permit) {
            add_file(m, "permit", member->permit, 0);
        }
    }
    add_tasks(m, paths->tasks, f->tasks);
    if (f->confirmed > 0) {
        add_tasks(m, paths->held_out, f->held_out);
    }
    add(m, "answers");
    add_file(m, "hash tree over all answers", f->cache_root, 0);
}

static void write_external(struct ww_jw *w, const void *payload)
{
    const struct ww_fusion *f = ((const struct making *)payload)->f;

    ww_jw_kstr(w, "rule", ww_rule_name(f->rule.id));
    ww_jw_kstr(w, "level", ww_fusion_level_name(f->level));
    if (f->per_byte) {
        ww_jw_kbool(w, "per_byte", true);
    }
    ww_jw_ku64(w, "top", f->top);
    ww_jw_ku64(w, "vocabulary", f->vocabulary);
    ww_jw_kdecimal(w, "seed", f->seed);
}

static enum ww_err put_evidence(const struct ww_fusion *fusion,
                                const struct ww_fusion_paths *paths,
                                const struct ww_buf *text, struct ww_signkey *key,
                                struct ww_error *err)
{
    const struct ww_signer signer = {.key = key};
    const struct ww_ancestors none = {0};
    struct making *m = ww_calloc(1, sizeof(*m));
    uint8_t root[WW_SHA256_BYTES];
    enum ww_err rc = m ? WW_OK : WW_FAIL_MEMORY(err, "evidence");

    if (!rc) {
        ww_sha256_of(text->data, text->len, root);
        m->f = fusion;
        collect(m, paths);
        const struct ww_provenance provenance = {.build_type = WW_FUSION_BUILD_TYPE,
                                                 .name = ww_path_base(paths->recipe),
                                                 .root = root,
                                                 .external = write_external,
                                                 .payload = m,
                                                 .sources = m->sources,
                                                 .n_sources = m->n};
        rc = ww_evidence_beside(paths->recipe, &provenance, &none, &signer, err);
    }
    ww_free(m);
    return rc;
}

/* Of a recipe that is not there any more, or was not written: not ours to remove. */
static bool has_evidence(const char *recipe)
{
    char *beside = ww_evidence_path(recipe);
    const bool there = !beside || access(beside, F_OK) == 0;
    ww_free(beside);
    return there;
}

/* Of a recipe that is not there. */
static void drop_evidence(const char *recipe)
{
    char *beside = ww_evidence_path(recipe);

    if (beside) {
        /* The error that is told is the one that led here. */
        (void)!ww_remove_tree(beside, NULL);
    }
    ww_free(beside);
}

enum ww_err ww_fusion_publish(const struct ww_fusion *fusion,
                              const struct ww_fusion_paths *paths, struct ww_signkey *key,
                              struct ww_error *err)
{
    struct ww_buf text;
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    enum ww_err rc = ww_path_check_new(paths->recipe, err);
    if (rc) {
        return rc; /* another one's evidence is left alone */
    }
    const bool older = has_evidence(paths->recipe);
    rc = ww_fusion_text(fusion, key, &text, err);
    if (!rc) {
        rc = put_evidence(fusion, paths, &text, key, err);
    }
    if (!rc) {
        rc = ww_file_write(paths->recipe, text.data, text.len, 0644, false, err);
    }
    /* A recipe that is there is whole, if not yet safe. */
    if (rc && !older && access(paths->recipe, F_OK) != 0) {
        drop_evidence(paths->recipe);
    }
    ww_buf_release(&text);
    return rc;
}
