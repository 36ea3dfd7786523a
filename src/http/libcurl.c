/* SPDX-License-Identifier: Apache-2.0 */
#include "http/libcurl.h"

#include <pthread.h>

#include "util/fail.h"
#include "util/library.h"

#define NAME(name) "curl_" #name,

struct ww_curl ww_curl;
static const char *const names[] = {WW_CURL_FUNCTIONS(NAME)};
static struct ww_library library =
    WW_LIBRARY_INIT(WW_LIBCURL, "requests to servers", names, ww_curl);
WW_LIBRARY_NOTE(curl_note, WW_LIBCURL, "evo", "evo: requests to servers", "recommended");
static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode started;

static void start(void)
{
    started = ww_curl.global_init(CURL_GLOBAL_DEFAULT);
}

enum ww_err ww_curl_load(struct ww_error *err)
{
    enum ww_err rc = ww_library_load(&library, err);

    if (rc) {
        return rc;
    }
    pthread_once(&once, start);
    return started ? WW_FAIL(err, WW_E_INTERNAL, "libcurl does not start (code %d)",
                             (int)started)
                   : WW_OK;
}
