/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Licences are compared as the cards spell them. The table knows the few kinds of terms
 * that cannot be met at once; it is a warning for a person, no legal opinion.
 */
#include "merge/card.h"

#include <string.h>
#include <strings.h>

#include "evidence/front_matter.h"
#include "json/json.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define CARD "README.md"
#define MAX_CARD_BYTES ((size_t)1 << 20)
#define OUT_BYTES ((size_t)2 << 20)

static bool is_no_derivatives(const char *s)
{
    return strcasestr(s, "-nd") != NULL;
}

static bool is_non_commercial(const char *s)
{
    return strcasestr(s, "-nc") != NULL || strcasestr(s, "non-commercial") != NULL;
}

/* Terms that a changed copy must keep, so two different ones cannot both hold. */
static bool is_share_alike(const char *s)
{
    return strcasestr(s, "-sa") != NULL || strncasecmp(s, "gpl", 3) == 0 ||
           strncasecmp(s, "agpl", 4) == 0;
}

const char *ww_licence_conflict(const char *a, const char *b)
{
    if (is_no_derivatives(a) || is_no_derivatives(b)) {
        return "one of them forbids changed copies";
    }
    if (strcasecmp(a, b) == 0) {
        return NULL;
    }
    if (is_share_alike(a) && is_share_alike(b)) {
        return "each wants changed copies under itself";
    }
    if ((is_share_alike(a) && !is_non_commercial(a) && is_non_commercial(b)) ||
        (is_share_alike(b) && !is_non_commercial(b) && is_non_commercial(a))) {
        return "one forbids commercial use, the other forbids such a limit";
    }
    return NULL;
}

struct licence {
    const char *text; /* as the card spells it, on one line; NULL: none is stated */
    const char *link; /* where its text is; NULL: not said */
    bool named;       /* it is no id: license_name beside "license: other", or several */
    bool unknown;     /* the card may state one, and cannot be read */
};

/* Several as one text, "mit, apache-2.0". */
static enum ww_err add_texts(const struct ww_ynode *stated, struct ww_buf *buf,
                             struct ww_error *err)
{
    const char *text = NULL;
    enum ww_err rc = WW_OK;

    for (const struct ww_ynode *n = ww_yfirst(stated); n && !rc; n = ww_ynext(n)) {
        rc = ww_ytext(n, &text)
                 ? ww_buf_addf(buf, err, "%s%s", buf->len ? ", " : "", text)
                 : WW_OK;
    }
    return rc;
}

/* A text of somebody else's for a line of a message. */
static enum ww_err keep_line(struct ww_build *build, const char *text, const char **out,
                             struct ww_error *err)
{
    char *line = ww_pool_keep(build->pool, ww_strdup(text));

    if (!line) {
        return ww_build_no_memory(err);
    }
    for (char *c = line; *c; c++) {
        *c = (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c;
    }
    *out = line;
    return WW_OK;
}

/* The address of a licence's text, or the name of a file that is carried along. */
static enum ww_err take_link(struct ww_build *build, const struct ww_yaml *card,
                             struct licence *out, struct ww_error *err)
{
    const struct ww_merge_plan *plan = build->plan;
    const char *link = NULL;
    bool reaches = false;

    if (!ww_ytext(ww_yget(ww_yaml_root(card, 0), "license_link"), &link)) {
        return WW_OK;
    }
    reaches = ww_str_starts(link, "https://") || ww_str_starts(link, "http://");
    for (uint32_t i = 0; i < plan->n_files && !reaches; i++) {
        reaches = strcmp(plan->files[i].name, link) == 0;
    }
    return reaches ? keep_line(build, link, &out->link, err) : WW_OK;
}

static enum ww_err take_licence(struct ww_build *build, const struct ww_build_model *m,
                                const struct ww_yaml *card, struct licence *out,
                                struct ww_error *err)
{
    const struct ww_ynode *stated = ww_yget(ww_yaml_root(card, 0), "license");
    const char *text = ww_card_license(card);
    const char *id = "";
    struct ww_buf buf;
    enum ww_err rc = WW_OK;

    ww_buf_init(&buf, MAX_CARD_BYTES);
    if (!text && ww_ytype(stated) == WW_Y_LIST) {
        rc = add_texts(stated, &buf, err);
        text = !rc && buf.len ? ww_buf_cstr(&buf) : NULL;
        out->named = true;
    }
    if (!rc && text) {
        rc = keep_line(build, text, &out->text, err);
        (void)ww_ytext(stated, &id);
        out->named |= strcmp(id, "other") == 0 && strcmp(text, "other") != 0;
        rc = rc ? rc : take_link(build, card, out, err);
    } else if (!rc && ww_ytype(stated) == WW_Y_MAP) {
        out->unknown = true;
        rc = ww_build_warn(build, err,
                           "the licence in " CARD " of '%s' is no text: it was not "
                           "compared",
                           m->text);
    }
    ww_buf_release(&buf);
    return rc;
}

/* The licence that a model's card states. */
static enum ww_err read_licence(struct ww_build *build, const struct ww_build_model *m,
                                struct licence *out, struct ww_error *err)
{
    struct ww_error ignored = {0};
    struct ww_yaml *card = NULL;
    struct ww_buf buf;
    enum ww_err rc = WW_OK;

    ww_buf_init(&buf, MAX_CARD_BYTES);
    /* A card that is missing or no card says nothing. */
    if (ww_file_read_at(m->model->dirfd, CARD, WW_LINKS_HUB, &buf, &ignored) == WW_OK) {
        card = ww_card_open(buf.data, buf.len);
    }
    if (ignored.code == WW_E_NOMEM) {
        rc = ww_build_no_memory(err);
    } else if (card) {
        rc = take_licence(build, m, card, out, err);
    } else if (buf.len && ww_card_has_front(buf.data, buf.len)) {
        out->unknown = true;
        rc = ww_build_warn(build, err,
                           "the front matter of " CARD " of '%s' cannot be read: whether "
                           "it states a licence is not known",
                           m->text);
    }
    ww_yaml_free(card);
    ww_buf_release(&buf);
    return rc;
}

/* *common: what all state; without a text when they say nothing. */
static enum ww_err compare_licences(struct ww_build *build, struct licence *common,
                                    bool *differ, struct ww_error *err)
{
    const uint32_t n = build->recipe->n_models;
    struct licence *all = ww_pool_calloc(build->pool, n, sizeof(*all));
    enum ww_err rc = all ? WW_OK : ww_build_no_memory(err);

    *differ = false;
    for (uint32_t i = 0; i < n && !rc; i++) {
        const char *text = NULL;
        rc = read_licence(build, &build->models[i], &all[i], err);
        text = all[i].text;
        if (rc || !text) {
            continue;
        }
        *common = common->text ? *common : all[i];
        common->link = common->link ? common->link : all[i].link;
        for (uint32_t k = 0; k <= i && !rc; k++) {
            const char *other = all[k].text;
            const char *why = other ? ww_licence_conflict(other, text) : NULL;
            const bool same = !other || strcasecmp(other, text) == 0;
            if (!why && same) {
                continue;
            }
            *differ = *differ || !same;
            rc = ww_build_warn(
                build, err, "licence '%.160s' of '%s' and licence '%.160s' of '%s': %s",
                other, build->models[k].text, text, build->models[i].text,
                why ? why
                    : "they differ; whether both allow the merge is for "
                      "you to find out");
        }
    }
    for (uint32_t i = 0; i < n && !rc; i++) {
        *differ = *differ || (all[i].unknown && common->text);
    }
    return rc;
}

/* A name of the list, once; revisions and sums are no names on the hub. */
static enum ww_err add_name(struct ww_strlist *names, const char *name,
                            struct ww_buf *buf, struct ww_error *err)
{
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    if (!name || ww_strlist_has(names, name)) {
        return WW_OK;
    }
    rc = ww_strlist_add(names, name, err);
    if (!rc) {
        rc = ww_buf_add_str(buf, "- ", err);
    }
    ww_jw_init(&w, buf, 0);
    ww_jw_str(&w, name);
    if (!rc) {
        rc = ww_jw_end(&w, err);
    }
    return rc ? rc : ww_buf_add_str(buf, "\n", err);
}

static enum ww_err base_models(const struct ww_recipe *recipe, struct ww_buf *buf,
                               struct ww_error *err)
{
    struct ww_strlist names = {0};
    enum ww_err rc = ww_buf_add_str(buf, "base_model:\n", err);

    for (uint32_t i = 0; i < recipe->n_models && !rc; i++) {
        const struct ww_recipe_model *m = &recipe->models[i];
        if (m->is_statistics) {
            continue;
        }
        rc = add_name(&names, m->path, buf, err);
        if (!rc) {
            rc = add_name(&names, m->adapter, buf, err);
        }
    }
    ww_strlist_release(&names);
    return rc;
}

static enum ww_err add_line(const char *key, const char *text, struct ww_buf *buf,
                            struct ww_error *err)
{
    struct ww_jw w;
    enum ww_err rc = ww_buf_addf(buf, err, "%s: ", key);

    ww_jw_init(&w, buf, 0);
    ww_jw_str(&w, text);
    rc = rc ? rc : ww_jw_end(&w, err);
    return rc ? rc : ww_buf_add_str(buf, "\n", err);
}

static enum ww_err add_licence(const struct licence *licence, bool differ,
                               struct ww_buf *buf, struct ww_error *err)
{
    const bool other = differ || licence->named;
    enum ww_err rc = add_line("license", other ? "other" : licence->text, buf, err);

    if (!rc && !differ && licence->named) {
        rc = add_line("license_name", licence->text, buf, err);
    }
    return rc || differ || !licence->link
               ? rc
               : add_line("license_link", licence->link, buf, err);
}

static void front_matter(struct ww_build *build, const struct licence *licence,
                         bool differ, struct ww_buf *buf, struct ww_error *err,
                         enum ww_err *rc)
{
    *rc = ww_buf_add_str(buf, "---\n", err);
    if (!*rc) {
        *rc = base_models(build->recipe, buf, err);
    }
    if (!*rc && (licence->text || differ)) {
        *rc = add_licence(licence, differ, buf, err);
    }
    if (!*rc) {
        *rc = ww_buf_add_str(buf,
                             "base_model_relation: merge\nlibrary_name: transformers\n"
                             "tags:\n- merge\n- mergekit\n- weightward\n---\n",
                             err);
    }
}

/* A fence longer than any run of backquotes in the recipe. */
static const char *fence_for(const char *text, size_t len)
{
    static const char longest[] = "````````````````";
    size_t run = 0;
    size_t most = 2;

    for (size_t i = 0; i < len; i++) {
        run = text[i] == '`' ? run + 1 : 0;
        most = run > most ? run : most;
    }
    return most + 1 < sizeof(longest) ? longest + sizeof(longest) - 1 - (most + 1) : NULL;
}

enum ww_err ww_build_card(struct ww_build *build, struct ww_error *err)
{
    const struct ww_method *method = build->recipe->method;
    const char *fence = fence_for(build->use->text, build->use->len);
    struct licence licence = {0};
    bool differ = false;
    struct ww_buf buf;
    enum ww_err rc = compare_licences(build, &licence, &differ, err);

    ww_buf_init(&buf, OUT_BYTES);
    if (build->options->license) {
        licence = (struct licence){.text = build->options->license};
        differ = false;
    }
    if (!rc) {
        front_matter(build, &licence, differ, &buf, err, &rc);
    }
    if (!rc) {
        rc = ww_buf_addf(
            &buf, err, "# A merge\n\nMade with weightward by the method `%s` (%s%s%s).\n",
            method->name, method->summary, method->paper[0] ? "; " : "", method->paper);
    }
    if (!rc && fence) {
        rc = ww_buf_addf(&buf, err, "\nThe recipe:\n\n%syaml\n", fence);
        if (!rc) {
            rc = ww_buf_add(&buf, build->use->text, build->use->len, err);
        }
        if (!rc) {
            rc = ww_buf_addf(&buf, err, "\n%s\n", fence);
        }
    }
    if (!rc) {
        rc = ww_build_add_file(build, CARD, buf.data, buf.len, err);
    }
    ww_buf_release(&buf);
    return rc;
}
