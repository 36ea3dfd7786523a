/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Limits on calls, tokens, money and time. A call is reserved at the most that it may
 * cost before it is sent, and settled by what the server counted, so that calls in flight
 * together cannot exceed a limit either.
 */
#ifndef WW_EVO_METER_H
#define WW_EVO_METER_H

#include <pthread.h>

#include "evo/account.h"
#include "evo/endpoint.h"

struct ww_budget {
    double calls; /* negative: no limit */
    double tokens;
    double cost;
    double seconds;
};

struct ww_spending {
    pthread_mutex_t mutex;
    struct ww_budget budget;
    double began; /* seconds of the monotonic clock */
    uint64_t calls;
    uint64_t tokens;
    double cost;
    uint64_t held_tokens; /* of calls under way */
    double held_cost;
    bool stopped;                     /* a limit was met */
    const struct ww_account *account; /* that is told of it too, or NULL */
    const struct ww_member
        *waits_for; /* tried again soon, one of those there are; NULL */
};

/** before: what of the budget is used already, or NULL. */
void ww_spending_init(struct ww_spending *s, const struct ww_budget *budget,
                      const struct ww_spent *before);
void ww_spending_release(struct ww_spending *s);
/** Its functions for an endpoint; borrows s. */
struct ww_meter ww_spending_meter(struct ww_spending *s);
/** "WORD, 12 calls, cost 0.1, waiting for 'a'" for progress. */
void ww_spending_phase(struct ww_spending *s, const char *word, char *out, size_t room);
double ww_spending_seconds(const struct ww_spending *s); /* those before included */

#endif
