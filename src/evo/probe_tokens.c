/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tokenizer or several? Members that score prompts cut the same strings, and so does
 * llama.cpp's server when it is asked to; equal cuts of all of them are the proof that a
 * pool of tokens needs. The strings hold words,
 * digits, indents, accents, and characters of several bytes.
 */
#include <stdio.h>
#include <string.h>

#include "evo/collect.h"
#include "evo/pool.h"
#include "util/fail.h"

static const char *const strings[] = {
    " the quick brown foxes jumped 1234567 times",
    "\tif (x != 0) {\n        return -1;\n}",
    " na\xC3\xAFve \xC3\xBC"
    "bergro\xC3\x9F \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x99\x82",
};

/* What members said of one string. */
struct cuts {
    struct ww_scored first; /* of the first member that could say it */
    uint32_t of, unable;    /* it, and one that could not; k: none */
    struct ww_error why;    /* what that one's answer was like */
};

static bool same_cuts(const struct ww_scored *a, const struct ww_scored *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; i < a->n && same; i++) {
        same = ww_span_eq(a->at[i].gold, b->at[i].gold);
    }
    return same;
}

static void differ(const struct ww_members *members, const struct cuts *c, uint32_t k,
                   const struct ww_scored *said, struct ww_probe_report *report)
{
    if (!report->one_tokenizer) {
        return;
    }
    char how[128];
    char raw[512];
    report->one_tokenizer = false;
    if (said) {
        (void)snprintf(how, sizeof(how), "otherwise, into %u", said->n);
    } else {
        (void)snprintf(how, sizeof(how), "none of it: %.100s", c->why.text);
    }
    (void)snprintf(raw, sizeof(raw),
                   "'%.80s' cuts a probe string into %u tokens, '%.80s' %s",
                   members->member[c->of].name, c->first.n, members->member[k].name, how);
    ww_one_line(report->differs, sizeof(report->differs), raw); /* names may be cut */
}

/* Does the member cut a string for nothing? */
static bool cuts_freely(const struct ww_member_facts *facts)
{
    return facts->dialect && strcmp(facts->dialect->name, "llama-server") == 0;
}

static enum ww_err cut(struct ww_endpoint *endpoint, const struct ww_member *member,
                       const struct ww_member_facts *facts, const char *text,
                       struct ww_scored *said, struct ww_error *err)
{
    const struct ww_ask ask = {.score = true,
                               .prompt = {(const uint8_t *)"Text", 4},
                               .answer = {(const uint8_t *)text, strlen(text)},
                               .end = "",
                               .model = member->model,
                               .top = 1};
    return cuts_freely(facts)
               ? ww_probe_cuts(endpoint, text, said, err)
               : ww_endpoint_ask(endpoint, facts->dialect, &ask, said, err);
}

/* One string by every member that can say how it cuts it. A server that cannot be asked
 * for it is left out; one that leaves characters out, since it has no tokens for them,
 * has another tokenizer than one that has them. */
static enum ww_err compare_string(struct ww_endpoint *const *endpoints,
                                  const struct ww_members *members,
                                  const struct ww_member_facts *facts, bool freely,
                                  const char *text, struct ww_probe_report *report,
                                  struct ww_error *err)
{
    struct cuts c = {.of = members->k, .unable = members->k};
    enum ww_err rc = WW_OK;
    for (uint32_t k = 0; k < members->k && !rc; k++) {
        struct ww_scored said = {0};
        struct ww_error local = {0};
        if (!cuts_freely(&facts[k]) && (freely || !facts[k].scores_prompts)) {
            continue;
        }
        rc = cut(endpoints[k], &members->member[k], &facts[k], text, &said, &local);
        if (rc == WW_E_UNSUPPORTED || rc == WW_E_MALFORMED) {
            if (rc == WW_E_MALFORMED) {
                c.unable = k;
                c.why = local;
            }
            rc = WW_OK;
        } else if (rc) {
            rc = WW_FAIL(err, rc, "%s", local.text);
        } else if (c.of == members->k) {
            c.of = k;
            c.first = said;
            memset(&said, 0, sizeof(said));
        } else {
            report->compared = true;
            if (!same_cuts(&c.first, &said)) {
                differ(members, &c, k, &said, report);
            }
        }
        ww_scored_release(&said);
    }
    if (!rc && c.of < members->k && c.unable < members->k) {
        report->compared = true;
        differ(members, &c, c.unable, NULL, report);
    }
    ww_scored_release(&c.first);
    return rc;
}

enum ww_err ww_probe_tokens(struct ww_endpoint *const *endpoints,
                            const struct ww_members *members,
                            const struct ww_member_facts *facts, bool freely,
                            struct ww_probe_report *report, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    report->one_tokenizer = true;
    for (size_t i = 0; i < WW_LEN(strings) && !rc; i++) {
        rc = compare_string(endpoints, members, facts, freely, strings[i], report, err);
    }
    report->one_tokenizer = report->one_tokenizer && report->compared;
    return rc;
}
