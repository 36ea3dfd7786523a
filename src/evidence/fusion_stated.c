/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statement has the recipe's digest, so nothing can be exchanged; but whoever reads
 * the statement alone must be told the truth about what was compared, by which rule, and
 * out of how many tokens. Only these members are read here: what else stands in a recipe
 * is the business of who serves it.
 */
#include "evidence/fusion_stated.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sign/envelope.h"
#include "util/fail.h"
#include "util/fs.h"

static const char *text_of(const struct ww_jnode *node, const char *otherwise)
{
    const char *text = otherwise;
    (void)ww_jstr(node, &text);
    return text;
}

static bool same_number(const struct ww_jnode *a, const struct ww_jnode *b)
{
    uint64_t x = 0;
    uint64_t y = 1;
    return ww_ju64(a, &x) && ww_ju64(b, &y) && x == y;
}

/* A seed is decimal digits in the statement, a number in the recipe. */
static bool same_seed(const struct ww_jnode *stated, const struct ww_jnode *number)
{
    char digits[24];
    uint64_t seed = 0;
    const bool is = ww_ju64(number, &seed);
    (void)snprintf(digits, sizeof(digits), "%" PRIu64, seed);
    return is && strcmp(digits, text_of(stated, "")) == 0;
}

static bool same_flag(const struct ww_jnode *a, const struct ww_jnode *b)
{
    bool x = false;
    bool y = false;
    return (!a || ww_jbool(a, &x)) && (!b || ww_jbool(b, &y)) && x == y;
}

enum ww_err ww_recipe_says(const struct ww_jnode *recipe, const struct ww_jnode *stated,
                           struct ww_error *err)
{
    const struct {
        const char *name;
        bool same;
    } members[] = {
        {"rule", strcmp(text_of(ww_jget(ww_jget(recipe, "rule"), "name"), "?"),
                        text_of(ww_jget(stated, "rule"), "")) == 0},
        {"level", strcmp(text_of(ww_jget(recipe, "level"), "tokens"),
                         text_of(ww_jget(stated, "level"), "tokens")) == 0},
        {"per_byte", same_flag(ww_jget(recipe, "per_byte"), ww_jget(stated, "per_byte"))},
        {"top", same_number(ww_jget(recipe, "top"), ww_jget(stated, "top"))},
        {"vocabulary",
         same_number(ww_jget(recipe, "vocabulary"), ww_jget(stated, "vocabulary"))},
        {"seed", same_seed(ww_jget(stated, "seed"), ww_jget(recipe, "seed"))},
    };
    for (size_t i = 0; i < WW_LEN(members); i++) {
        if (!members[i].same) {
            return WW_FAIL(err, WW_E_WRONG_MODEL,
                           "provenance states another '%s' than the recipe has",
                           members[i].name);
        }
    }
    return WW_OK;
}

enum ww_err ww_recipe_agrees(const char *path, const struct ww_provenance_view *view,
                             struct ww_error *err)
{
    const struct ww_jnode *build =
        ww_jget(ww_jget(ww_json_root(view->json), "predicate"), "buildDefinition");
    struct ww_envelope envelope = {0};
    struct ww_json *recipe = NULL;
    struct ww_buf text;

    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    enum ww_err rc = ww_file_read(path, &text, err);
    if (rc) {
        goto out;
    }
    rc = ww_envelope_parse(text.data, text.len, &envelope, err);
    if (!rc && envelope.kind != WW_SIGNED_FUSION) {
        rc = WW_FAIL(err, WW_E_WRONG_MODEL,
                     "provenance speaks of a recipe, found a signed %s",
                     ww_signed_word(envelope.kind));
    }
    if (rc) {
        goto out;
    }
    rc = ww_json_parse(envelope.payload.data, envelope.payload.len, &ww_json_limits_small,
                       &recipe, err);
    if (rc) {
        goto out;
    }
    rc = ww_recipe_says(ww_json_root(recipe), ww_jget(build, "externalParameters"), err);
out:
    ww_json_free(recipe);
    ww_envelope_release(&envelope);
    ww_buf_release(&text);
    return rc;
}
