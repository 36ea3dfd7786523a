/* SPDX-License-Identifier: Apache-2.0 */
/* When a request is worth another try, and after how long. */
#include <string.h>

#include "http/client.h"
#include "http/libcurl.h"
#include "util/fail.h"

#define LONGEST_WAIT 86400.0

bool ww_http_retryable(unsigned status)
{
    static const unsigned passing[] = {0, 408, 409, 425, 429, 500, 502, 503, 504, 529};
    for (size_t i = 0; i < WW_LEN(passing); i++) {
        if (passing[i] == status) {
            return true;
        }
    }
    return false;
}

double ww_http_backoff(unsigned attempt, double retry_after_s, double cap_s,
                       uint64_t random)
{
    double wait = retry_after_s;
    if (wait < 0) {
        const unsigned doublings = attempt < 20 ? attempt : 20;
        wait = 0.5 * (double)(1u << doublings) * ((double)(random >> 11) * 0x1p-53);
    }
    return wait < cap_s ? wait : cap_s;
}

double ww_http_retry_after(const char *value, int64_t now)
{
    while (*value == ' ' || *value == '\t') {
        value++;
    }
    size_t digits = strspn(value, "0123456789");
    const char *rest = value + digits + strspn(value + digits, " \t\r\n");
    if (digits && !*rest) {
        double seconds = 0;
        for (size_t i = 0; i < digits; i++) {
            seconds = seconds * 10 + (value[i] - '0');
        }
        return seconds < LONGEST_WAIT ? seconds : LONGEST_WAIT;
    }
    const bool is_date = !digits && ww_curl_load(NULL) == WW_OK;
    const time_t when = is_date ? ww_curl.getdate(value, NULL) : -1;
    if (when == -1) {
        return -1;
    }
    const double wait = (double)((int64_t)when - now);
    return wait < 0 ? 0 : wait < LONGEST_WAIT ? wait : LONGEST_WAIT;
}
