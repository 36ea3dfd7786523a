/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 3339 without zones and without leap seconds. Days are counted in years that begin
 * in March, so that the odd day stands at the end: the usual closed form for the
 * Gregorian calendar. No locale and no environment has a say, unlike in strptime.
 */
#include "util/utc.h"

#include <stddef.h>
#include <stdio.h>

#include "util/fail.h"

#define DAYS_TO_1970 719468 /* from 0000-03-01 */

static bool digits(const char *text, size_t n, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        *out = *out * 10 + (text[i] - '0');
    }
    return true;
}

static int64_t month_days(int64_t year, int64_t month)
{
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}

static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
    int64_t y = year - (month <= 2);
    int64_t m = (month + 9) % 12;

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 -
           DAYS_TO_1970;
}

/* The fields of "YYYY-MM-DDThh:mm:ss" and what must follow each. */
static bool read_fields(const char **text, int64_t field[6])
{
    static const size_t width[] = {4, 2, 2, 2, 2, 2};
    static const char after[] = "--T::";

    for (size_t i = 0; i < WW_LEN(width); i++) {
        if (!digits(*text, width[i], &field[i])) {
            return false;
        }
        *text += width[i];
        if (i + 1 < WW_LEN(width) && *(*text)++ != after[i]) {
            return false;
        }
    }
    return true;
}

bool ww_utc_parse(const char *text, int64_t *out)
{
    int64_t f[6];

    if (!read_fields(&text, f) || f[0] == 0 || f[1] < 1 || f[1] > 12 || f[2] < 1 ||
        f[2] > month_days(f[0], f[1]) || f[3] > 23 || f[4] > 59 || f[5] > 59) {
        return false;
    }
    if (*text == '.') {
        int64_t digit = 0;
        size_t n = 0;
        for (text++; digits(text, 1, &digit); text++) {
            n++;
        }
        if (n == 0) {
            return false;
        }
    }
    if (text[0] != 'Z' || text[1] != '\0') {
        return false;
    }
    *out = ((days_since_1970(f[0], f[1], f[2]) * 24 + f[3]) * 60 + f[4]) * 60 + f[5];
    return true;
}

void ww_utc_text(int64_t seconds, char out[WW_UTC_BYTES])
{
    const int64_t most = days_since_1970(9999, 12, 31) * 86400 + 86399;
    const int64_t t = seconds < 0 ? 0 : seconds > most ? most : seconds;
    int64_t rest = t / 86400;
    int64_t year = 1970 + rest / 366;
    int64_t month = 1;

    while (days_since_1970(year + 1, 1, 1) <= t / 86400) {
        year++;
    }
    rest -= days_since_1970(year, 1, 1);
    while (rest >= month_days(year, month)) {
        rest -= month_days(year, month++);
    }
    (void)snprintf(out, WW_UTC_BYTES, "%04d-%02d-%02dT%02d:%02d:%02dZ", (int)year,
                   (int)month, (int)rest + 1, (int)(t / 3600 % 24), (int)(t / 60 % 60),
                   (int)(t % 60));
}
