/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_probe FOLDER...
 *
 * Resolves each folder, checks what must hold of every layout, and prints one line: "OK"
 * and a summary, or "FAIL" and why. Status 1 when one failed.
 */
#include "layout_check.h"

static const char *const groups[] = {"fixed", "perm", "perm_sign", "signed"};

static bool probe(const char *path)
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
    for (int i = 1; i < argc; i++) {
        ok = probe(argv[i]) && ok;
    }
    return ok ? 0 : 1;
}
