/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a pool and a task file to a recipe: ask what the cache lacks, fit all rules to it,
 * score them on items that were not fitted to, and keep the rule that was asked for only
 * where its gain over the best single member is not chance. The rule is named before the
 * held-out items are looked at: choosing by them would make their interval a lie.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/signkey.h"
#include "evo/collect.h"
#include "evo/fusion.h"
#include "evo/fusion_details.h"
#include "evo/permits.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/fusion.h"
#include "weightward/report.h"

/* One split: its items and what was said about them. */
struct split {
    const char *path;
    struct ww_tasks tasks;
    struct ww_answers answers;
    struct ww_pool_set set;
};

struct fit {
    const struct ww_fusion_options *o;
    struct ww_fusion_report *report;
    enum ww_rule_id asked;
    struct ww_spent spent;
    struct ww_members members;
    struct split fitted, held_out;
    struct ww_permit permits[WW_POOL_MAX_MEMBERS]; /* [members.k] */
    struct ww_rule rules[WW_RULE_COUNT];
    struct ww_item_score *single, *score; /* of the split that is scored */
    struct ww_fusion recipe;
};

/* What the cache lacks; the limits are those of both splits together. */
static enum ww_err ask(struct fit *f, const struct split *split, struct ww_error *err)
{
    struct ww_collect_options o = f->o->collect;
    struct ww_collect_report report = {0};
    o.tasks = split->path;
    enum ww_err rc = ww_collect_after(&o, &f->spent, NULL, &report, err);
    if (rc) {
        return rc;
    }
    f->spent.calls += report.calls;
    f->spent.tokens += report.tokens;
    f->spent.cost += report.cost;
    f->spent.seconds += report.seconds;
    f->report->calls += report.calls;
    f->report->calls_avoided += report.calls_avoided;
    f->report->cost += report.cost;
    f->report->complete = f->report->complete && report.complete;
    if (!report.complete) {
        snprintf(f->report->stopped, sizeof(f->report->stopped), "%s", report.stopped);
    }
    ww_collect_report_release(&report);
    return WW_OK;
}

static enum ww_err apart(const struct fit *f, struct ww_error *err)
{
    size_t shared = 0;
    enum ww_err rc = ww_tasks_shared(&f->held_out.tasks, &f->fitted.tasks, &shared, err);
    if (rc || shared == f->held_out.tasks.n) {
        return rc;
    }
    return WW_FAIL(err, WW_E_DENIED,
                   "item %zu of '%s' is in '%s' as well: weights that were fitted to an "
                   "item cannot be confirmed by it",
                   shared + 1, f->held_out.path, f->fitted.path);
}

static enum ww_err load(struct fit *f, struct split *split, struct ww_error *err)
{
    const struct ww_collect_options *o = &f->o->collect;
    const struct ww_answers_view view = {o->top, o->level, f->o->per_byte,
                                         f->o->vocabulary};
    return ww_answers_load(&f->members, &split->tasks, o->cache, &view, &split->answers,
                           err);
}

/* One vocabulary for both splits: it is part of what was fitted. */
static enum ww_err make_sets(struct fit *f, struct ww_error *err)
{
    size_t tokens = f->fitted.answers.tokens > f->held_out.answers.tokens
                        ? f->fitted.answers.tokens
                        : f->held_out.answers.tokens;
    const uint32_t usual =
        f->o->collect.level == WW_EVO_BYTES ? WW_GATHER_BYTES : WW_GATHER_VOCABULARY;
    uint32_t vocabulary = f->o->vocabulary ? f->o->vocabulary : f->fitted.answers.told;
    f->report->assumed =
        vocabulary ? 0 : f->fitted.answers.assumed + f->held_out.answers.assumed;
    vocabulary = vocabulary ? vocabulary : usual;
    f->report->vocabulary = vocabulary;
    if (f->o->vocabulary && tokens > vocabulary) {
        return WW_FAIL(err, WW_E_USAGE,
                       "members listed %zu unlike tokens, but the vocabulary is said to "
                       "have %u",
                       tokens, vocabulary);
    }
    vocabulary = tokens > vocabulary ? (uint32_t)tokens : vocabulary;
    f->fitted.answers.vocabulary = vocabulary;
    f->held_out.answers.vocabulary = vocabulary;
    enum ww_err rc = ww_pool_set_make(&f->fitted.answers, &f->fitted.set, err);
    if (!rc && f->o->confirm) {
        rc = ww_pool_set_make(&f->held_out.answers, &f->held_out.set, err);
    }
    return rc;
}

static enum ww_err read_all(struct fit *f, struct ww_error *err)
{
    enum ww_err rc = ww_tasks_read(f->fitted.path, &f->fitted.tasks, err);
    if (!rc && f->o->confirm) {
        rc = ww_tasks_read(f->held_out.path, &f->held_out.tasks, err);
    }
    if (!rc && f->o->confirm) {
        rc = apart(f, err);
    }
    if (!rc && f->held_out.tasks.n < WW_CONFIRM_LEAST && f->o->confirm) {
        rc = WW_FAIL(err, WW_E_USAGE, "'%s' has %zu items, expected at least %d",
                     f->held_out.path, f->held_out.tasks.n, WW_CONFIRM_LEAST);
    }
    if (!rc) {
        rc = ww_members_read(f->o->collect.pool, &f->members, err);
    }
    return rc;
}

static enum ww_err score_rule(struct fit *f, enum ww_rule_id id, struct ww_error *err)
{
    const struct ww_pool_set *set = f->o->confirm ? &f->held_out.set : &f->fitted.set;
    const struct ww_rule_fit options = {.seed = f->o->seed};
    struct ww_fusion_score *s = &f->recipe.scores[f->recipe.n_scores++];
    struct ww_confirm c = {0};
    enum ww_err rc = ww_rule_fit(id, &f->fitted.set, &options, &f->rules[id], err);
    if (!rc) {
        rc = ww_score_items(&f->rules[id], set, f->score, err);
    }
    if (rc) {
        return rc;
    }
    if (id == WW_RULE_BEST_SINGLE) {
        memcpy(f->single, f->score, set->items * sizeof(*f->score));
    }
    s->rule = id;
    s->score = ww_score_mean(f->score, NULL, set->items);
    s->gain = ww_score_mean(f->single, NULL, set->items).bits - s->score.bits;
    if (f->o->confirm) {
        rc = ww_confirm(f->score, f->single, set->items, f->o->seed, &c, err);
        s->interval = c.bits;
    }
    if (!rc && id == f->asked) {
        const bool keep = !f->o->confirm || c.better;
        f->recipe.rule = f->rules[keep ? id : WW_RULE_BEST_SINGLE];
    }
    return rc;
}

static enum ww_err score_all(struct fit *f, struct ww_error *err)
{
    const size_t items = f->o->confirm ? f->held_out.set.items : f->fitted.set.items;
    enum ww_err rc = WW_OK;
    f->single = ww_calloc(items, sizeof(*f->single));
    f->score = ww_calloc(items, sizeof(*f->score));
    if (!f->single || !f->score) {
        return WW_FAIL_MEMORY(err, "%zu scores", items);
    }
    for (unsigned id = 0; id < WW_RULE_COUNT && !rc; id++) {
        if (!ww_rule_on_request((enum ww_rule_id)id) || id == f->asked) {
            rc = score_rule(f, (enum ww_rule_id)id, err);
        }
    }
    return rc;
}

static void tell(struct fit *f)
{
    struct ww_fusion_report *r = f->report;
    for (uint32_t i = 0; i < f->recipe.n_scores; i++) {
        const struct ww_fusion_score *s = &f->recipe.scores[i];
        r->rules[r->n_rules++] =
            (struct ww_fusion_rule){ww_rule_name(s->rule), s->score.bits, s->score.next,
                                    s->score.whole,        s->gain,       s->interval.low,
                                    s->interval.high};
    }
    snprintf(r->best, sizeof(r->best), "%s",
             f->members.member[f->rules[WW_RULE_BEST_SINGLE].member].name);
    r->asked = ww_rule_name(f->asked);
    r->chosen = ww_rule_name(f->recipe.rule.id);
    r->confirmed = f->o->confirm != NULL;
    r->fitted = f->fitted.tasks.n;
    r->held_out = f->held_out.tasks.n;
}

static enum ww_err add_details(struct fit *f, struct ww_error *err)
{
    const struct split *scored = f->o->confirm ? &f->held_out : &f->fitted;
    const struct ww_rule *rules[WW_RULE_COUNT];
    for (uint32_t i = 0; i < f->recipe.n_scores; i++) {
        rules[i] = &f->rules[f->recipe.scores[i].rule];
    }
    const struct ww_fusion_fitted fit = {.members = &f->members,
                                         .tasks = &scored->tasks,
                                         .fitted = &f->fitted.set,
                                         .scored = &scored->set,
                                         .rules = rules,
                                         .n_rules = f->recipe.n_scores,
                                         .single = f->single,
                                         .asked = f->asked,
                                         .confirmed = f->o->confirm != NULL,
                                         .seed = f->o->seed};
    return ww_fusion_details_make(&fit, &f->report->details, err);
}

/* May who signs pool these models? Asked before anything is paid for, and again with the
 * rule that was taken. */
static enum ww_err ask_permits(struct fit *f, enum ww_rule_id rule, struct ww_error *err)
{
    char requester[2 * WW_SHA256_BYTES + 1] = "";
    struct ww_pubkey *key = NULL;
    enum ww_err rc = WW_OK;
    if (f->o->key) {
        rc = ww_signkey_public(f->o->key, &key, err);
        rc = rc ? rc : ww_pubkey_hint(key, requester, err);
        ww_pubkey_free(key);
    }
    return rc ? rc
              : ww_permits_check(f->members.member, f->members.k, requester,
                                 ww_rule_name(rule), f->permits, err);
}

/* What the recipe says of a member; dialect and canary are those of the cached answers.
 */
static enum ww_err name_member(struct fit *f, struct ww_answer_cache *cache, uint32_t i,
                               struct ww_error *err)
{
    const struct ww_member *m = &f->members.member[i];
    const uint32_t top = f->o->collect.top ? f->o->collect.top : WW_EVO_TOP;
    struct ww_fusion_member *out = &f->recipe.member[i];
    struct ww_member_facts facts = {0};
    bool found = false;
    enum ww_err rc = ww_cached_facts(cache, m, top, &found, &facts, err);
    if (!rc && !found) {
        rc = WW_FAIL(err, WW_E_NOTFOUND, "the cache knows nothing of member '%s'",
                     m->name);
    }
    if (!rc) {
        *out = (struct ww_fusion_member){.name = m->name,
                                         .url = m->url,
                                         .dialect = facts.dialect->name,
                                         .model = m->model,
                                         .end = m->end,
                                         .has_permit = f->permits[i].given,
                                         .adapters = m->adapters,
                                         .n_adapters = m->n_adapters};
        ww_canary_digest(&facts, out->canary);
        memcpy(out->permit, f->permits[i].digest, sizeof(out->permit));
        if (out->has_permit &&
            !ww_unhex(out->owner, sizeof(out->owner), f->permits[i].owner,
                      strlen(f->permits[i].owner))) {
            rc = WW_FAIL(err, WW_E_INTERNAL, "a key's hint is no hex");
        }
    }
    ww_member_facts_release(&facts);
    return rc;
}

static enum ww_err emit(struct fit *f, struct ww_error *err)
{
    struct ww_fusion *r = &f->recipe;
    struct ww_answer_cache *cache = NULL;
    enum ww_err rc = ww_answer_cache_open(f->o->collect.cache, false, &cache, err);
    r->k = f->members.k;
    r->member = ww_calloc(r->k, sizeof(*r->member));
    if (!rc && !r->member) {
        rc = WW_FAIL_MEMORY(err, "a recipe");
    }
    rc = rc ? rc : ask_permits(f, r->rule.id, err);
    for (uint32_t i = 0; i < r->k && !rc; i++) {
        rc = name_member(f, cache, i, err);
    }
    ww_answer_cache_close(cache);
    if (rc) {
        return rc;
    }
    r->level = f->o->collect.level;
    r->per_byte = f->o->per_byte;
    r->top = f->fitted.answers.top;
    r->vocabulary = f->fitted.answers.vocabulary;
    memcpy(r->tasks, f->fitted.tasks.digest, sizeof(r->tasks));
    memcpy(r->held_out, f->held_out.tasks.digest, sizeof(r->held_out));
    memcpy(r->cache_root, f->fitted.answers.root, sizeof(r->cache_root));
    r->fitted = f->fitted.tasks.n;
    r->confirmed = f->held_out.tasks.n;
    r->calls = f->fitted.answers.calls + f->held_out.answers.calls;
    r->seed = f->o->seed;
    r->tool = ww_version();
    const struct ww_fusion_paths paths = {f->o->output, f->fitted.path, f->held_out.path};
    return f->o->key ? ww_fusion_publish(r, &paths, f->o->key, err)
                     : ww_fusion_save(r, NULL, f->o->output, err);
}

static enum ww_err checked(struct fit *f, struct ww_error *err)
{
    f->asked = WW_RULE_ADAPTIVE;
    enum ww_err rc = f->o->output ? ww_path_check_new(f->o->output, err) : WW_OK;
    if (!rc && f->o->rule) {
        rc = ww_rule_find(f->o->rule, &f->asked, err);
    }
    if (!rc && f->o->vocabulary && f->o->collect.level == WW_EVO_BYTES) {
        rc = WW_FAIL(
            err, WW_E_USAGE,
            "a pool of bytes takes no vocabulary: there are 256 bytes; leave it out");
    }
    if (!rc && f->o->per_byte && f->o->collect.level != WW_EVO_OPTIONS) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "scores are divided by lengths where members are compared by "
                     "options, and only there");
    }
    if (!rc && f->o->seed >> 53) {
        rc = WW_FAIL(err, WW_E_USAGE, "seed %llu is too large, expected less than 2^53",
                     (unsigned long long)f->o->seed);
    }
    return rc;
}

static enum ww_err fit_all(struct fit *f, struct ww_error *err)
{
    enum ww_err rc = checked(f, err);
    if (!rc) {
        rc = read_all(f, err);
    }
    if (!rc && f->o->output) {
        rc = ask_permits(f, f->asked, err);
    }
    if (!rc && f->o->ask) {
        rc = ask(f, &f->fitted, err);
    }
    if (!rc && f->o->ask && f->o->confirm && f->report->complete) {
        rc = ask(f, &f->held_out, err);
    }
    if (rc || !f->report->complete) {
        return rc;
    }
    rc = load(f, &f->fitted, err);
    if (!rc && f->o->confirm) {
        rc = load(f, &f->held_out, err);
    }
    if (!rc) {
        rc = make_sets(f, err);
    }
    if (!rc) {
        rc = score_all(f, err);
    }
    if (!rc) {
        tell(f);
        rc = f->o->details ? add_details(f, err) : WW_OK;
    }
    if (!rc && f->o->output) {
        rc = emit(f, err);
    }
    return rc;
}

static void split_release(struct split *split)
{
    ww_pool_set_release(&split->set);
    ww_answers_release(&split->answers);
    ww_tasks_release(&split->tasks);
}

void ww_fusion_report_release(struct ww_fusion_report *report)
{
    ww_fusion_details_free(report->details);
    report->details = NULL;
}

enum ww_err ww_fusion_fit(const struct ww_fusion_options *options,
                          struct ww_fusion_report *report, struct ww_error *err)
{
    struct fit f = {.o = options, .report = report};
    memset(report, 0, sizeof(*report));
    report->complete = true;
    f.fitted.path = options->collect.tasks;
    f.held_out.path = options->confirm;
    enum ww_err rc = fit_all(&f, err);
    ww_free(f.single);
    ww_free(f.score);
    ww_free(f.recipe.member);
    split_release(&f.fitted);
    split_release(&f.held_out);
    ww_members_release(&f.members);
    if (rc) {
        ww_fusion_report_release(report);
    }
    return rc;
}
