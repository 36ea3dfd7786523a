/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of evidence/chain.h once more, for somebody who decides and does not judge: a
 * signer that the root does not know and a file that is missing are no failure here but
 * facts that deny. Models are finished after their sources, so each has the list of all
 * that is above it. Card and policy reference count where the ancestor's own statement
 * has the digest of the carried file; one that is stated and missing leaves the lineage
 * unknown, or taking a card away could take a forbid away.
 */
#include "trust/lineage.h"

#include <stdio.h>
#include <string.h>

#include "policy/words.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

struct node {
    struct ww_chain_evidence evidence;
    struct ww_model_facts facts;
    bool done; /* its facts are in the list of ancestors, at: */
    size_t place;
    bool above[WW_FACTS_MAX_ANCESTORS]; /* places of all that it was made of */
};

struct lineage {
    const struct ww_trust *trust;
    struct ww_source_facts *out;
    struct ww_chain_keys keys;
    struct node *nodes[WW_FACTS_MAX_ANCESTORS];
    size_t n_nodes;
    int dirfd;
};

void ww_facts_missing(struct ww_source_facts *facts, const char *what)
{
    if (!facts->why[0]) {
        snprintf(facts->why, sizeof(facts->why), "%s", what);
    }
}

static const char *own(struct lineage *l, const char *text, struct ww_error *err)
{
    const struct ww_reading at = {"facts", &l->out->lists, &l->out->n_lists};
    char *copy = ww_strdup(text);

    return ww_read_own(&at, copy, err) == WW_OK ? copy : NULL;
}

static void missing(struct lineage *l, const char *name, const char *what)
{
    char text[WW_ERROR_TEXT_BYTES];

    snprintf(text, sizeof(text), "ancestor '%.100s': %.400s", name, what);
    ww_facts_missing(l->out, text);
}

/* A carried side file of an ancestor. *known is false when the ancestor states one that
 * is not here. */
static enum ww_err read_side(struct lineage *l, const struct ww_chain_evidence *e,
                             enum ww_ancestor_file file, struct ww_buf *text, bool *found,
                             bool *known, struct ww_error *err)
{
    struct ww_error local = {0};
    const uint8_t *sha256 = ww_chain_stated(e, ww_ancestor_side(file));
    enum ww_err rc = WW_OK;

    *found = false;
    if (!sha256) {
        return WW_OK;
    }
    ww_buf_clear(text);
    rc = ww_ancestor_read(l->dirfd, sha256, file, text, &local);
    *found = rc == WW_OK;
    if (rc == WW_E_NOTFOUND) {
        *known = false;
        return WW_OK;
    }
    return rc ? WW_FAIL(err, rc, "%s", local.text) : WW_OK;
}

static enum ww_err read_sides(struct lineage *l, struct node *node, bool *known,
                              struct ww_error *err)
{
    struct ww_card_facts card = {0};
    struct ww_buf text;
    bool found = false;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ANCESTOR_SIDE_MAX_BYTES);
    rc = read_side(l, &node->evidence, WW_ANCESTOR_CARD, &text, &found, known, err);
    if (!rc && found) {
        rc = ww_card_facts_read(text.data, text.len, l->out, &card, err);
        node->facts.license = card.license;
        node->facts.tags = card.tags;
    }
    if (!rc) {
        rc = read_side(l, &node->evidence, WW_ANCESTOR_POLICY, &text, &found, known, err);
    }
    if (!rc && found) {
        rc = ww_reference_read(text.data, text.len, l->out, err);
    }
    ww_buf_release(&text);
    if (!rc && !*known) {
        missing(l, node->facts.name, "its card or policy reference is not carried");
    }
    return rc;
}

/* An adapter has no tensor root, and goes by its folder's. */
static bool is_adapter(const struct ww_chain_evidence *e)
{
    return ww_chain_stated(e, "adapter_model.safetensors") != NULL;
}

static enum ww_err describe(struct lineage *l, struct node *node,
                            const struct ww_provenance_link *used, struct ww_error *err)
{
    const struct ww_chain_evidence *e = &node->evidence;
    const bool is_stated = e->kind == WW_EVIDENCE_PROVENANCE;
    const uint8_t *root = is_stated && e->provenance.has_tree ? e->provenance.tree
                          : used->has_tree                    ? used->tree
                          : is_adapter(e)
                              ? (is_stated ? e->provenance.root : e->signature.root)
                              : NULL;
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    bool known = true;
    enum ww_err rc = WW_OK;

    ww_hex(hex, e->sha256, WW_SHA256_BYTES);
    node->facts.signer = own(l, e->hint, err);
    node->facts.evidence = own(l, hex, err);
    if (!node->facts.signer || !node->facts.evidence) {
        return WW_E_NOMEM;
    }
    if (root) {
        memcpy(node->facts.root, root, WW_SHA256_BYTES);
    } else {
        missing(l, used->name,
                "nothing signed has its tensor root; sign it with --tensors");
    }
    rc = read_sides(l, node, &known, err);
    if (!is_stated) {
        missing(l, used->name,
                "nothing signed says what it was made of; sign it with "
                "--origin if it was made of no other model");
    }
    node->facts.lineage_known = root && known && is_stated;
    return rc;
}

static struct node *find(const struct lineage *l, const struct ww_source_evidence *e)
{
    for (size_t i = 0; i < l->n_nodes; i++) {
        const struct ww_chain_evidence *have = &l->nodes[i]->evidence;
        if (have->kind == e->kind &&
            memcmp(have->sha256, e->sha256, WW_SHA256_BYTES) == 0) {
            return l->nodes[i];
        }
    }
    return NULL;
}

static enum ww_err new_node(struct lineage *l, const char *name, struct node **out,
                            struct ww_error *err)
{
    struct node *node = NULL;

    if (l->n_nodes >= WW_FACTS_MAX_ANCESTORS) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "the model has more than %d ancestors, and is not judged",
                       WW_FACTS_MAX_ANCESTORS);
    }
    node = ww_calloc(1, sizeof(*node));
    if (!node) {
        return WW_FAIL_MEMORY(err, "facts");
    }
    l->nodes[l->n_nodes++] = node;
    node->facts.name = own(l, name, err);
    *out = node;
    return node->facts.name ? WW_OK : WW_E_NOMEM;
}

/* *out is NULL when the evidence is missing. A signer that the root does not know leaves
 * a node without a signer. */
static enum ww_err open_node(struct lineage *l, const struct ww_provenance_link *used,
                             struct node **out, struct ww_error *err)
{
    struct ww_error local = {0};
    struct node *node = NULL;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    *out = NULL;
    ww_buf_init(&text, WW_ANCESTOR_MAX_BYTES);
    rc = ww_ancestor_read(l->dirfd, used->evidence.sha256, WW_ANCESTOR_STATEMENT, &text,
                          &local);
    if (rc == WW_E_NOTFOUND) {
        missing(l, used->name, local.text);
        rc = WW_OK;
        goto out;
    }
    if (!rc) {
        rc = new_node(l, used->name, &node, &local);
    }
    if (!rc) {
        *out = node;
        rc = ww_chain_evidence_open(&l->keys, &text, used->evidence.kind, &node->evidence,
                                    &local);
        node->evidence.kind = used->evidence.kind;
        memcpy(node->evidence.sha256, used->evidence.sha256, WW_SHA256_BYTES);
    }
    if (rc == WW_E_UNTRUSTED) {
        missing(l, used->name, local.text);
        rc = WW_OK;
    } else if (rc) {
        rc = WW_FAIL(err, rc, "ancestor '%.200s': %s", used->name, local.text);
    } else {
        rc = describe(l, node, used, err);
    }
out:
    ww_buf_release(&text);
    return rc;
}

/* What was decided about an ancestor; *known is false when its record is not here. */
static enum ww_err read_decision(struct lineage *l, const struct ww_provenance_link *used,
                                 bool *known, struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    if (!used->evidence.has_decision) {
        return WW_OK;
    }
    ww_buf_init(&text, WW_ANCESTOR_SIDE_MAX_BYTES);
    rc = ww_ancestor_read(l->dirfd, used->evidence.decision, WW_ANCESTOR_DECISION, &text,
                          &local);
    if (rc == WW_E_NOTFOUND) {
        *known = false;
        missing(l, used->name, local.text);
        rc = WW_OK;
    } else {
        rc = rc ? rc : ww_decision_read(l->trust, &l->keys, &text, l->out, &local);
        rc = rc ? WW_FAIL(err, rc, "ancestor '%.200s': %s", used->name, local.text) : rc;
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err match(const struct ww_provenance_link *used, const struct node *node,
                         struct ww_error *err)
{
    struct ww_notes notes = {0};
    enum ww_err rc = WW_OK;

    if (node->facts.signer) {
        rc = ww_chain_match(used, &node->evidence, &notes, err);
    }
    ww_notes_release(&notes);
    if (rc) {
        ww_error_context(err, "ancestor '%.200s'", used->name);
    }
    return rc;
}

static enum ww_err finish(struct lineage *l, struct node *node, struct ww_error *err)
{
    struct ww_source_facts *out = l->out;
    struct ww_model_facts *grown =
        ww_realloc_array(out->ancestors, out->model.n_ancestors + 1, sizeof(*grown));

    if (!grown) {
        return WW_FAIL_MEMORY(err, "facts");
    }
    out->ancestors = grown;
    node->place = out->model.n_ancestors;
    node->done = true;
    grown[out->model.n_ancestors++] = node->facts;
    return WW_OK;
}

static enum ww_err walk(struct lineage *l, const struct ww_provenance_view *view,
                        unsigned depth, bool above[WW_FACTS_MAX_ANCESTORS], bool *known,
                        struct ww_error *err);

/* The node of a link, finished with all that is above it; NULL when nothing is here. */
static enum ww_err visit(struct lineage *l, const struct ww_provenance_link *used,
                         unsigned depth, struct node **out, struct ww_error *err)
{
    struct node *node = NULL;
    bool known = true;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (used->evidence.kind == WW_EVIDENCE_NONE) {
        missing(l, used->name, "it carried no evidence");
        return WW_OK;
    }
    node = find(l, &used->evidence);
    if (!node) {
        rc = open_node(l, used, &node, err);
    }
    if (rc || !node) {
        return rc;
    }
    rc = match(used, node, err);
    if (!rc && !node->done) {
        if (node->facts.lineage_known) {
            rc = walk(l, &node->evidence.provenance, depth, node->above, &known, err);
        }
        node->facts.lineage_known = node->facts.lineage_known && known;
        rc = rc ? rc : finish(l, node, err);
    }
    *out = node;
    return rc;
}

static enum ww_err walk(struct lineage *l, const struct ww_provenance_view *view,
                        unsigned depth, bool above[WW_FACTS_MAX_ANCESTORS], bool *known,
                        struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (depth >= WW_CHAIN_MAX_DEPTH) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "the chain has more than %d steps, and is not followed further",
                       WW_CHAIN_MAX_DEPTH);
    }
    for (size_t i = 0; i < view->n_links && !rc; i++) {
        struct node *node = NULL;
        rc = visit(l, &view->links[i], depth + 1, &node, err);
        if (!rc) {
            rc = read_decision(l, &view->links[i], known, err);
        }
        if (rc || !node) {
            *known = false;
            continue;
        }
        *known = *known && node->facts.lineage_known;
        above[node->place] = true;
        for (size_t k = 0; k < node->place; k++) {
            above[k] = above[k] || node->above[k];
        }
    }
    return rc;
}

/* Sources stand before what was made of them, so their lists are complete already. */
static enum ww_err list_above(struct lineage *l, struct node *node, struct ww_error *err)
{
    const struct ww_reading at = {"facts", &l->out->lists, &l->out->n_lists};
    struct ww_model_facts *all = l->out->ancestors;
    struct ww_model_facts *list = ww_calloc(node->place + 1, sizeof(*list));
    enum ww_err rc = ww_read_own(&at, list, err);
    size_t n = 0;

    for (size_t k = 0; k < node->place && !rc; k++) {
        if (node->above[k]) {
            list[n++] = all[k];
        }
    }
    if (!rc) {
        all[node->place].ancestors = list;
        all[node->place].n_ancestors = n;
    }
    return rc;
}

static enum ww_err list_all(struct lineage *l, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t place = 0; place < l->out->model.n_ancestors && !rc; place++) {
        for (size_t i = 0; i < l->n_nodes && !rc; i++) {
            if (l->nodes[i]->done && l->nodes[i]->place == place) {
                rc = list_above(l, l->nodes[i], err);
            }
        }
    }
    l->out->model.ancestors = l->out->ancestors;
    return rc;
}

/* The model's own provenance; kind NONE when it has none that the root knows. */
static enum ww_err open_own(struct lineage *l, const uint8_t *oms_root,
                            struct ww_chain_evidence *out, struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ANCESTOR_MAX_BYTES);
    rc = ww_file_read_at(l->dirfd, WW_PROVENANCE_FILE, WW_LINKS_REFUSE, &text, &local);
    if (!rc) {
        rc = ww_chain_evidence_open(&l->keys, &text, WW_EVIDENCE_PROVENANCE, out, &local);
    }
    ww_buf_release(&text);
    if (rc == WW_E_NOTFOUND || rc == WW_E_UNTRUSTED) {
        ww_facts_missing(l->out, rc == WW_E_UNTRUSTED
                                     ? local.text
                                     : "nothing signed says what it was made of; sign it "
                                       "with --origin if it was made of no other model");
        return WW_OK;
    }
    if (rc) {
        return WW_FAIL(err, rc, "'" WW_PROVENANCE_FILE "': %s", local.text);
    }
    if (memcmp(out->provenance.root, oms_root, WW_SHA256_BYTES) != 0 ||
        (out->provenance.has_tree &&
         memcmp(out->provenance.tree, l->out->model.root, WW_SHA256_BYTES) != 0)) {
        return WW_FAIL(err, WW_E_WRONG_MODEL,
                       "its provenance speaks of another folder or of other tensors");
    }
    return WW_OK;
}

/* What was decided about the model itself. No statement names the record yet, so that one
 * which was taken away is not missed. */
static enum ww_err read_own_decision(struct lineage *l, struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ANCESTOR_SIDE_MAX_BYTES);
    rc = ww_file_read_at(l->dirfd, WW_DECISION_FILE, WW_LINKS_REFUSE, &text, &local);
    if (rc == WW_E_NOTFOUND) {
        rc = WW_OK;
    } else {
        rc = rc ? rc : ww_decision_read(l->trust, &l->keys, &text, l->out, &local);
        rc = rc ? WW_FAIL(err, rc, "'" WW_DECISION_FILE "': %s", local.text) : rc;
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err run(struct lineage *l, const uint8_t *oms_root, struct ww_error *err)
{
    struct ww_chain_evidence mine = {0};
    bool above[WW_FACTS_MAX_ANCESTORS] = {false};
    bool known = true;
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    enum ww_err rc = open_own(l, oms_root, &mine, err);

    if (!rc && mine.kind == WW_EVIDENCE_PROVENANCE) {
        ww_hex(hex, mine.sha256, WW_SHA256_BYTES);
        l->out->model.evidence = own(l, hex, err);
        rc = l->out->model.evidence ? WW_OK : WW_E_NOMEM;
        if (!rc) {
            rc = walk(l, &mine.provenance, 0, above, &known, err);
        }
        l->out->model.lineage_known = known && !rc;
    }
    ww_chain_evidence_release(&mine);
    return rc ? rc : list_all(l, err);
}

enum ww_err ww_lineage_read(const struct ww_trust *trust, int dirfd,
                            const uint8_t oms_root[WW_SHA256_BYTES],
                            struct ww_source_facts *out, struct ww_error *err)
{
    struct lineage *l = ww_calloc(1, sizeof(*l));
    enum ww_err rc = WW_OK;

    if (!l) {
        return WW_FAIL_MEMORY(err, "facts");
    }
    l->trust = trust;
    l->out = out;
    l->dirfd = dirfd;
    rc = ww_lineage_keys(trust, &l->keys, err);
    if (!rc) {
        rc = run(l, oms_root, err);
    }
    if (!rc) {
        rc = read_own_decision(l, err);
    }
    for (size_t i = 0; i < l->n_nodes; i++) {
        ww_chain_evidence_release(&l->nodes[i]->evidence);
        ww_free(l->nodes[i]);
    }
    ww_chain_keys_release(&l->keys);
    ww_free(l);
    return rc;
}
