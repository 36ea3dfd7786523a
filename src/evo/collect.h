/* SPDX-License-Identifier: Apache-2.0 */
/** What collecting is made of, for others that read the cache. */
#ifndef WW_EVO_COLLECT_H
#define WW_EVO_COLLECT_H

#include "evo/answer_cache.h"
#include "evo/answers.h"
#include "evo/gather.h"
#include "evo/meter.h"
#include "weightward/evo.h"

#define WW_EVO_TOP 20

/** ww_evo_collect under limits that other calls have used before; NULL: none. The report
 *  is of this one alone. account: is told of every call, or NULL. */
enum ww_err ww_collect_after(const struct ww_collect_options *options,
                             const struct ww_spent *before,
                             const struct ww_account *account,
                             struct ww_collect_report *report,
                             struct ww_error *err) WW_MUST_USE;

/** Facts of a member as the cache has them. *found. */
enum ww_err ww_cached_facts(struct ww_answer_cache *cache, const struct ww_member *member,
                            uint32_t top, bool *found, struct ww_member_facts *out,
                            struct ww_error *err) WW_MUST_USE;
enum ww_err ww_keep_facts(struct ww_answer_cache *cache, const struct ww_member *member,
                          uint32_t top, const struct ww_member_facts *facts,
                          struct ww_error *err) WW_MUST_USE;

/** A fetch that reads the cache alone; payload: struct ww_answer_cache. */
enum ww_err ww_fetch_cached(void *payload, uint32_t member, const struct ww_ask *ask,
                            const uint8_t key[32], bool *found, struct ww_scored *out,
                            struct ww_error *err);

/** A member's facts as a report has them. */
enum ww_err ww_describe_member(const struct ww_member *member,
                               const struct ww_member_facts *facts,
                               struct ww_evo_member *out,
                               struct ww_error *err) WW_MUST_USE;
void ww_evo_member_release(struct ww_evo_member *member);

/** Members' tokenizers compared by the cuts of probe strings (probe_tokens.c). freely: of
 *  those members alone that say them without a call; others need no endpoint. */
enum ww_err ww_probe_tokens(struct ww_endpoint *const *endpoints,
                            const struct ww_members *members,
                            const struct ww_member_facts *facts, bool freely,
                            struct ww_probe_report *report,
                            struct ww_error *err) WW_MUST_USE;

#endif
