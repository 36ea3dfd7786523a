/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of members in the cache, and in reports. */
#include <string.h>

#include "evo/collect.h"
#include "evo/permits.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

/* Goes up with what a probe finds out, and with the version of any dialect. */
#define FACTS_VERSION 3

/* Facts are found by what the pool file says, not by what was found out. */
static enum ww_err facts_key(const struct ww_member *member, uint32_t top,
                             uint8_t out[32], struct ww_error *err)
{
    static const char name[] = "facts";
    const struct ww_ask ask = {
        .prompt = {(const uint8_t *)name, sizeof(name) - 1},
        .answer = {(const uint8_t *)member->dialect, strlen(member->dialect)},
        .end = member->end,
        .model = member->model,
        .top = top,
        .scales = member->adapters,
        .n_scales = member->n_adapters,
    };
    return ww_answer_key(member, name, FACTS_VERSION, &ask, out, err);
}

enum ww_err ww_cached_facts(struct ww_answer_cache *cache, const struct ww_member *member,
                            uint32_t top, bool *found, struct ww_member_facts *out,
                            struct ww_error *err)
{
    uint8_t key[32];
    struct ww_buf value = {0};
    memset(out, 0, sizeof(*out));
    enum ww_err rc = facts_key(member, top, key, err);
    rc = rc ? rc : ww_answer_cache_get(cache, key, found, &value, err);
    if (!rc && *found) {
        rc = ww_member_facts_read(value.data, value.len, out, err);
    }
    ww_buf_release(&value);
    return rc;
}

enum ww_err ww_keep_facts(struct ww_answer_cache *cache, const struct ww_member *member,
                          uint32_t top, const struct ww_member_facts *facts,
                          struct ww_error *err)
{
    uint8_t key[32];
    struct ww_buf value;
    ww_buf_init(&value, WW_SCORED_MAX_BYTES);
    enum ww_err rc = facts_key(member, top, key, err);
    rc = rc ? rc : ww_member_facts_write(facts, &value, err);
    rc = rc ? rc : ww_answer_cache_put(cache, key, value.data, value.len, err);
    ww_buf_release(&value);
    return rc;
}

enum ww_err ww_fetch_cached(void *payload, uint32_t member, const struct ww_ask *ask,
                            const uint8_t key[32], bool *found, struct ww_scored *out,
                            struct ww_error *err)
{
    struct ww_buf value = {0};
    (void)member;
    (void)ask;
    enum ww_err rc = ww_answer_cache_get(payload, key, found, &value, err);
    if (!rc && *found) {
        rc = ww_scored_read(value.data, value.len, out, err);
    }
    ww_buf_release(&value);
    return rc;
}

enum ww_err ww_describe_member(const struct ww_member *member,
                               const struct ww_member_facts *facts,
                               struct ww_evo_member *out, struct ww_error *err)
{
    uint8_t digest[32];
    out->name = ww_strdup(member->name);
    out->dialect = ww_strdup(facts->dialect ? facts->dialect->name : member->dialect);
    out->scores_prompts = facts->scores_prompts;
    out->top = facts->top;
    out->bytes = facts->bytes;
    out->continues = facts->hints.continues != WW_CONTINUES_NOT ||
                     (facts->dialect && strcmp(facts->dialect->name, "openai-chat") != 0);
    out->forces = facts->forces;
    out->adapters = facts->adapters;
    out->vocabulary = facts->vocabulary;
    enum ww_err rc = ww_remote_identity(member, digest, err);
    if (rc) {
        return rc;
    }
    ww_hex(out->identity, digest, sizeof(digest));
    if (facts->dialect) {
        ww_canary_digest(facts, digest);
        ww_hex(out->canary, digest, sizeof(digest));
    }
    return out->name && out->dialect ? WW_OK : WW_FAIL_MEMORY(err, "a report");
}

void ww_evo_member_release(struct ww_evo_member *member)
{
    ww_free(member->name);
    ww_free(member->dialect);
    ww_free(member->failure);
}
