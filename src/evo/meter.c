/* SPDX-License-Identifier: Apache-2.0 */
/* Reserve, then settle. */
#include "evo/meter.h"

#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include "util/fail.h"

void ww_spending_init(struct ww_spending *s, const struct ww_budget *budget,
                      const struct ww_spent *before)
{
    memset(s, 0, sizeof(*s));
    (void)pthread_mutex_init(&s->mutex, NULL);
    s->budget = *budget;
    s->began = ww_now();
    if (before) {
        s->calls = before->calls;
        s->tokens = before->tokens;
        s->cost = before->cost;
        s->began -= before->seconds;
    }
}

void ww_spending_release(struct ww_spending *s)
{
    (void)pthread_mutex_destroy(&s->mutex);
}

double ww_spending_seconds(const struct ww_spending *s)
{
    return ww_now() - s->began;
}

void ww_spending_phase(struct ww_spending *s, const char *word, char *out, size_t room)
{
    char paid[32] = "";
    (void)pthread_mutex_lock(&s->mutex);
    const unsigned long long calls = s->calls;
    const struct ww_member *member = s->waits_for;
    if (s->cost > 0) {
        (void)snprintf(paid, sizeof(paid), ", cost %.4g", s->cost);
    }
    (void)pthread_mutex_unlock(&s->mutex);
    (void)snprintf(out, room, "%s, %llu calls%s%s%s%s", word, calls, paid,
                   member ? ", waiting for '" : "", member ? member->name : "",
                   member ? "'" : "");
}

static double price(const struct ww_member *m, uint64_t tokens)
{
    return m->price_call + m->price_ktoken * (double)tokens / 1000;
}

/* What is spent and what calls under way may come to, where it is kept. */
static enum ww_err note(const struct ww_spending *s, struct ww_error *err)
{
    const struct ww_spent spent = {s->calls, s->tokens + s->held_tokens,
                                   s->cost + s->held_cost, ww_spending_seconds(s)};
    return s->account ? ww_account_note(s->account, &spent, err) : WW_OK;
}

static enum ww_err start(void *payload, const struct ww_member *member, uint64_t tokens,
                         struct ww_error *err)
{
    struct ww_spending *s = payload;
    const double cost = price(member, tokens);
    (void)pthread_mutex_lock(&s->mutex);
    const struct {
        const char *what;
        double limit;
        double would;
    } limits[] = {
        {"calls", s->budget.calls, (double)s->calls + 1},
        {"tokens", s->budget.tokens, (double)(s->tokens + s->held_tokens + tokens)},
        {"cost", s->budget.cost, s->cost + s->held_cost + cost},
        {"seconds", s->budget.seconds, ww_spending_seconds(s)},
    };
    enum ww_err rc = WW_OK;
    for (size_t i = 0; i < WW_LEN(limits) && !rc; i++) {
        if (limits[i].limit >= 0 && limits[i].would > limits[i].limit) {
            s->stopped = true;
            rc = WW_FAIL(err, WW_E_LIMIT, "the limit of %g %s would be exceeded%s",
                         limits[i].limit, limits[i].what,
                         s->calls ? "" : " by the first call: raise it");
        }
    }
    if (!rc) {
        s->calls++;
        s->held_tokens += tokens;
        s->held_cost += cost;
        rc = note(s, err);
        if (rc) { /* it is not sent */
            s->calls--;
            s->held_tokens -= tokens;
            s->held_cost -= cost;
        }
    }
    (void)pthread_mutex_unlock(&s->mutex);
    /* On the disk before it is sent; outside of the lock, so that calls side by side
     * share a flush. One that fails stays reserved: nobody knows what the disk has. */
    return rc || !s->account ? rc : ww_account_flush(s->account, err);
}

static void end(void *payload, const struct ww_member *member, uint64_t reserved,
                uint64_t used)
{
    struct ww_spending *s = payload;
    (void)pthread_mutex_lock(&s->mutex);
    s->held_tokens -= reserved;
    s->held_cost -= price(member, reserved);
    s->tokens += used;
    s->cost += used ? price(member, used) : 0;
    (void)!note(s, NULL); /* what was noted before it was sent is no less */
    (void)pthread_mutex_unlock(&s->mutex);
}

static void waits(void *payload, const struct ww_member *member)
{
    struct ww_spending *s = payload;
    (void)pthread_mutex_lock(&s->mutex);
    s->waits_for = member;
    (void)pthread_mutex_unlock(&s->mutex);
}

struct ww_meter ww_spending_meter(struct ww_spending *s)
{
    return (struct ww_meter){start, end, waits, s};
}
