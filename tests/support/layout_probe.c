/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_probe [--row] FOLDER...
 *
 * Resolves each folder, checks what must hold of every layout, and prints one line: "OK"
 * and a summary, or "FAIL" and why. Status 1 when one failed. With --row the line is one
 * for docs/architectures.md: descriptor, streams, QK and VO classes, what stays and why.
 */
#include "layout_check.h"

static const char *const groups[] = {"fixed", "perm", "perm_sign", "signed"};

/* Words met, each once, in order. */
struct words {
    const char *items[64];
    size_t n;
};

static void add_word(struct words *w, const char *word)
{
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(w->items[i], word) == 0) {
            return;
        }
    }
    if (w->n < 64) {
        w->items[w->n++] = word;
    }
}

static void print_words(const char *before, const struct words *w)
{
    printf("%s", before);
    for (size_t i = 0; i < w->n; i++) {
        printf("%s%s", i ? ", " : "", w->items[i]);
    }
}

static void print_row(const struct ww_layout *l)
{
    struct words stream = {0}, qk = {0}, vo = {0}, stays = {0};

    for (uint32_t i = 0; i < l->n_stacks; i++) {
        const struct ww_residual *r = ww_layout_stream(l, i);
        add_word(&stream, groups[r->group]);
        if (r->group == WW_RESIDUAL_FIXED) {
            add_word(&stays, r->reason);
        }
    }
    for (uint32_t i = 0; i < l->n_attentions; i++) {
        const struct ww_attention *a = &l->attentions[i];
        add_word(&qk, ww_qk_class_name(a->qk_class));
        add_word(&vo, ww_vo_class_name(a->vo_class));
        if (!a->heads_move) {
            add_word(&stays, a->heads_reason);
        }
        if (a->vo_class == WW_VO_NONE) {
            add_word(&stays, a->vo_reason);
        }
    }
    for (uint32_t i = 0; i < l->n_blocks; i++) {
        const struct ww_block *b = &l->blocks[i];
        if (b->self == WW_NONE && b->cross == WW_NONE && b->uncovered) {
            add_word(&stays, b->uncovered);
        }
    }
    printf("%s", l->descriptor);
    print_words(" | ", &stream);
    print_words(" | ", &qk);
    print_words(" | ", &vo);
    print_words(" | ", &stays);
    printf("\n");
}

static bool probe(const char *path, bool row)
{
    struct ww_error err = {0};
    struct ww_model *model = NULL;
    struct ww_layout *l = NULL;
    const char *fault = NULL;
    enum ww_err rc = ww_model_open(path, &model, &err);

    if (rc == WW_OK) {
        rc = ww_layout_resolve(model, NULL, &l, &err);
    }
    if (rc) {
        printf("FAIL %s: %s: %s\n", path, ww_err_name(rc), err.text);
    } else if (row) {
        print_row(l);
    } else {
        fault = ww_layout_check(l);
        const struct ww_attention *a = l->n_attentions ? &l->attentions[0] : NULL;
        printf("%s %s: %s %s, %u tensors, %u blocks, residual %s (%s)%s%s; qk %s (%s), "
               "vo %s\n",
               fault ? "FAIL" : "OK", path, l->descriptor, l->task, model->n_tensors,
               l->n_blocks, groups[l->residual.group], l->residual.reason,
               fault ? ": " : "", fault ? fault : "",
               a ? ww_qk_class_name(a->qk_class) : "", a ? a->qk_reason : "",
               a ? ww_vo_class_name(a->vo_class) : "");
    }
    ww_layout_free(l);
    ww_model_close(model);
    return rc == WW_OK && !fault;
}

int main(int argc, char **argv)
{
    bool ok = true;
    bool row = argc > 1 && strcmp(argv[1], "--row") == 0;
    for (int i = 1 + row; i < argc; i++) {
        ok = probe(argv[i], row) && ok;
    }
    return ok ? 0 : 1;
}
