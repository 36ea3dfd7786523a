/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk: the model's own files, then statement by statement to the roots, depth first.
 * Digests make cycles impossible (a statement would have to contain its own hash), so the
 * limits on depth and count are there for time and memory alone. A statement that several
 * models share is read once, and matched against the bytes that each of them used.
 */
#include "evidence/beside.h"
#include "evidence/bom.h"
#include "evidence/chain_model.h"

#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

struct walk {
    struct ww_chain_report *report;
    const struct ww_chain_keys *keys;
    const struct ww_chain_judge *judge; /* NULL */
    struct ww_chain_evidence *seen;     /* one per link */
    struct ww_chain_model model;        /* the first of them */
    struct ww_notes notes;
};

static void describe(struct ww_chain_link *link, const struct ww_chain_evidence *e)
{
    link->action = "unsigned";
    memcpy(link->signer, e->signer, sizeof(link->signer));
    if (e->kind == WW_EVIDENCE_NONE) {
        return;
    }
    ww_hex(link->evidence_sha256, e->sha256, WW_SHA256_BYTES);
    if (e->kind == WW_EVIDENCE_SIGNATURE) {
        link->action = "signed";
        ww_hex(link->root_sha256, e->signature.root, WW_SHA256_BYTES);
        return;
    }
    link->action = e->provenance.action;
    ww_hex(link->root_sha256, e->provenance.root, WW_SHA256_BYTES);
    if (e->provenance.has_tree) {
        ww_hex(link->tensor_root, e->provenance.tree, WW_SHA256_BYTES);
    }
}

/* Takes the evidence, also on failure. */
static enum ww_err add_link(struct walk *w, const char *name, unsigned depth,
                            struct ww_chain_evidence *e, size_t *index,
                            struct ww_error *err)
{
    struct ww_chain_report *report = w->report;
    const size_t n = report->n_links;
    struct ww_chain_link *links =
        n < WW_CHAIN_MAX_LINKS ? ww_realloc_array(report->links, n + 1, sizeof(*links))
                               : NULL;
    struct ww_chain_evidence *seen =
        links ? ww_realloc_array(w->seen, n + 1, sizeof(*seen)) : NULL;

    if (links) {
        report->links = links;
    }
    if (!seen) {
        ww_chain_evidence_release(e);
        return n < WW_CHAIN_MAX_LINKS
                   ? WW_FAIL_MEMORY(err, "a chain")
                   : WW_FAIL(
                         err, WW_E_LIMIT,
                         "the chain has more than %d models, and is not followed further",
                         WW_CHAIN_MAX_LINKS);
    }
    w->seen = seen;
    seen[n] = *e;
    links[n] = (struct ww_chain_link){.depth = depth};
    links[n].name = ww_strdup(name);
    links[n].method =
        ww_strdup(e->kind == WW_EVIDENCE_PROVENANCE ? e->provenance.method : "");
    describe(&links[n], e);
    *index = report->n_links++;
    return links[n].name && links[n].method ? WW_OK : WW_FAIL_MEMORY(err, "a chain");
}

static enum ww_err add_source(struct walk *w, size_t link, size_t source,
                              struct ww_error *err)
{
    struct ww_chain_link *l = &w->report->links[link];
    size_t *grown = ww_realloc_array(l->sources, l->n_sources + 1, sizeof(*grown));

    if (!grown) {
        return WW_FAIL_MEMORY(err, "a chain");
    }
    l->sources = grown;
    grown[l->n_sources++] = source;
    return WW_OK;
}

/* The link whose evidence has this digest, or the count. */
static size_t find_seen(const struct walk *w, const struct ww_source_evidence *e)
{
    size_t i = 0;

    while (i < w->report->n_links &&
           (w->seen[i].kind != e->kind ||
            memcmp(w->seen[i].sha256, e->sha256, WW_SHA256_BYTES) != 0)) {
        i++;
    }
    return i;
}

/* A record that the step names must be there as it was. */
static enum ww_err check_decision(const struct walk *w,
                                  const struct ww_provenance_link *used,
                                  struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    if (!used->evidence.has_decision) {
        return WW_OK;
    }
    ww_buf_init(&text, WW_ANCESTOR_SIDE_MAX_BYTES);
    rc = ww_ancestor_read(w->model.dirfd, used->evidence.decision, WW_ANCESTOR_DECISION,
                          &text, err);
    ww_buf_release(&text);
    return rc;
}

static enum ww_err load(const struct walk *w, const struct ww_provenance_link *used,
                        struct ww_chain_evidence *out, struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ANCESTOR_MAX_BYTES);
    rc = ww_ancestor_read(w->model.dirfd, used->evidence.sha256, WW_ANCESTOR_STATEMENT,
                          &text, err);
    if (!rc) {
        rc = ww_chain_evidence_open(w->keys, &text, used->evidence.kind, out, err);
    }
    ww_buf_release(&text);
    return rc;
}

/* Somebody above may know why a link that holds must not be relied on. */
static enum ww_err ask_judge(const struct walk *w, size_t link, struct ww_error *err)
{
    return w->judge ? w->judge->accept(w->judge->payload, &w->report->links[link],
                                       w->seen[link].hint, err)
                    : WW_OK;
}

static enum ww_err note_root(struct walk *w, const struct ww_chain_link *link,
                             struct ww_error *err)
{
    return ww_notes_add(&w->notes, err, "origin of '%s', which %s", link->name,
                        link->action[0] == 's' ? "is signed but carries no provenance"
                                               : "carries no evidence");
}

/* An ancestor's own card, where its statement has the digest of the carried file; or what
 * the step that used it says. */
static enum ww_err find_license(struct walk *w, size_t link,
                                const struct ww_provenance_link *used,
                                struct ww_error *err)
{
    char path[WW_ANCESTOR_PATH_BYTES];
    char *license = w->report->links[link].license;
    const uint8_t *card =
        ww_chain_stated(&w->seen[link], ww_ancestor_side(WW_ANCESTOR_CARD));
    enum ww_err rc = WW_OK;

    if (card) {
        struct ww_buf text;
        ww_buf_init(&text, WW_ANCESTOR_SIDE_MAX_BYTES);
        rc = ww_ancestor_read(w->model.dirfd, card, WW_ANCESTOR_CARD, &text, err);
        ww_buf_release(&text);
        if (rc == WW_E_TAMPERED) {
            return rc;
        }
        ww_ancestor_path(card, WW_ANCESTOR_CARD, path);
        rc = rc ? WW_OK : ww_license_at(w->model.dirfd, path, license, err);
    }
    if (!rc && !license[0]) {
        (void)ww_license_set(license, used->evidence.license);
    }
    return rc;
}

static enum ww_err walk_sources(struct walk *w, size_t link, unsigned depth,
                                struct ww_error *err);

static enum ww_err break_at(struct walk *w, const char *name, enum ww_err rc,
                            struct ww_error *err)
{
    if (!w->report->broken) {
        w->report->broken = ww_strdup(name);
    }
    ww_error_context(err, "link '%s'", name);
    return rc;
}

/* One source of a link: found again, or read and walked. */
static enum ww_err walk_source(struct walk *w, size_t parent, size_t i, unsigned depth,
                               struct ww_error *err)
{
    /* w->seen moves when it grows; the document does not. */
    const struct ww_provenance_link used = w->seen[parent].provenance.links[i];
    struct ww_chain_evidence evidence = {0};
    size_t link = used.evidence.kind == WW_EVIDENCE_NONE ? w->report->n_links
                                                         : find_seen(w, &used.evidence);
    const bool is_new = link == w->report->n_links;
    enum ww_err rc = WW_OK;

    if (is_new && used.evidence.kind != WW_EVIDENCE_NONE) {
        rc = load(w, &used, &evidence, err);
    }
    if (!rc && used.evidence.kind != WW_EVIDENCE_NONE) {
        rc = ww_chain_match(&used, is_new ? &evidence : &w->seen[link], &w->notes, err);
    }
    if (!rc) {
        rc = check_decision(w, &used, err);
    }
    if (rc) {
        ww_chain_evidence_release(&evidence);
        return break_at(w, used.name, rc, err);
    }
    if (is_new) {
        rc = add_link(w, used.name, depth, &evidence, &link, err);
    }
    if (!rc && is_new && used.has_tree && !w->report->links[link].tensor_root[0]) {
        ww_hex(w->report->links[link].tensor_root, used.tree, WW_SHA256_BYTES);
    }
    if (!rc && is_new) {
        rc = find_license(w, link, &used, err);
    }
    if (!rc && is_new) {
        rc = ask_judge(w, link, err);
        if (rc) {
            return break_at(w, used.name, rc, err);
        }
    }
    if (!rc) {
        rc = add_source(w, parent, link, err);
    }
    if (!rc && is_new) {
        rc = walk_sources(w, link, depth, err);
    }
    return rc;
}

static enum ww_err walk_sources(struct walk *w, size_t link, unsigned depth,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (w->seen[link].kind != WW_EVIDENCE_PROVENANCE) {
        return note_root(w, &w->report->links[link], err);
    }
    if (depth >= WW_CHAIN_MAX_DEPTH) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "the chain has more than %d steps, and is not followed further",
                       WW_CHAIN_MAX_DEPTH);
    }
    for (size_t i = 0; i < w->seen[link].provenance.n_links && !rc; i++) {
        rc = walk_source(w, link, i, depth + 1, err);
    }
    return rc;
}

/* Two statements of the model may have two signers, and both must be right. */
static enum ww_err accept_model(struct walk *w, struct ww_error *err)
{
    struct ww_chain_link *model = &w->report->links[0];
    enum ww_err rc = WW_OK;

    if (w->seen[0].kind == WW_EVIDENCE_NONE) {
        model->action = "signed";
        memcpy(model->root_sha256, w->report->model.root_sha256,
               sizeof(model->root_sha256));
    }
    if (!model->tensor_root[0]) {
        memcpy(model->tensor_root, w->report->model.tensor_root,
               sizeof(model->tensor_root));
    }
    /* Every file was verified, but for what the caller let pass. */
    if (!w->model.is_file &&
        (!w->model.options->ignore_unsigned_files ||
         ww_chain_stated(&w->seen[0], ww_ancestor_side(WW_ANCESTOR_CARD)))) {
        rc = ww_license_at(w->model.dirfd, ww_ancestor_side(WW_ANCESTOR_CARD),
                           model->license, err);
    }
    if (!rc) {
        rc = ask_judge(w, 0, err);
    }
    return rc || !w->judge
               ? rc
               : w->judge->accept(w->judge->payload, model, w->model.hint, err);
}

static enum ww_err run(struct walk *w, struct ww_error *err)
{
    struct ww_chain_evidence own = {0};
    char *name = NULL;
    size_t link = 0;
    enum ww_err rc = ww_path_last(w->model.path, &name, err);

    if (!rc) {
        rc = ww_chain_model_open(&w->model, &own, err);
    }
    if (rc) {
        ww_chain_evidence_release(&own);
        w->report->broken = name;
        return rc;
    }
    if (own.kind == WW_EVIDENCE_PROVENANCE) {
        /* A folder may be renamed; the statement is not. */
        ww_free(name);
        name = ww_strdup(own.provenance.name);
        if (!name) {
            ww_chain_evidence_release(&own);
            return WW_FAIL_MEMORY(err, "a chain");
        }
    }
    if (own.kind == WW_EVIDENCE_NONE) {
        memcpy(own.signer, w->report->model.signer, sizeof(own.signer));
    } else if (!w->report->model.signer[0]) {
        memcpy(w->report->model.signer, own.signer, sizeof(own.signer));
    }
    rc = add_link(w, name, 0, &own, &link, err);
    if (!rc) {
        rc = accept_model(w, err);
    }
    if (!rc) {
        rc = walk_sources(w, link, 0, err);
    } else if (w->report->n_links > 0) {
        (void)break_at(w, name, rc, err);
    }
    ww_free(name);
    return rc;
}

enum ww_err ww_chain_walk(const char *path, const struct ww_chain_options *options,
                          const struct ww_chain_keys *keys,
                          const struct ww_chain_judge *judge,
                          struct ww_chain_report *report, struct ww_error *err)
{
    struct walk w = {.report = report,
                     .keys = keys,
                     .judge = judge,
                     .model = {.path = path,
                               .options = options,
                               .keys = keys,
                               .report = &report->model,
                               .dirfd = -1}};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = run(&w, err);
    if (!rc && keys) {
        rc = ww_bom_check(w.model.dirfd, keys, report, &report->has_bom, err);
    }
    if (!rc) {
        rc = ww_notes_take(&w.notes, &report->not_checked, &report->n_not_checked, err);
    }
    for (size_t i = 0; i < report->n_links && w.seen; i++) {
        ww_chain_evidence_release(&w.seen[i]);
    }
    ww_free(w.seen);
    ww_notes_release(&w.notes);
    if (w.model.dirfd >= 0) {
        close(w.model.dirfd);
    }
    return rc;
}

enum ww_err ww_verify_chain(const char *path, const struct ww_chain_options *options,
                            struct ww_chain_report *report, struct ww_error *err)
{
    struct ww_chain_keys keys;
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = ww_chain_keys_open(options, &keys, err);
    if (!rc) {
        rc = ww_chain_walk(path, options, &keys, NULL, report, err);
    }
    ww_chain_keys_release(&keys);
    return rc;
}

void ww_chain_report_release(struct ww_chain_report *report)
{
    struct ww_strlist notes = {report->not_checked, report->n_not_checked,
                               report->n_not_checked};

    for (size_t i = 0; i < report->n_links; i++) {
        ww_free(report->links[i].name);
        ww_free(report->links[i].method);
        ww_free(report->links[i].sources);
    }
    ww_free(report->links);
    ww_free(report->broken);
    ww_strlist_release(&notes);
    ww_verify_report_release(&report->model);
    memset(report, 0, sizeof(*report));
}
