/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl, which is loaded when the first server is asked. */
#ifndef WW_HTTP_LIBCURL_H
#define WW_HTTP_LIBCURL_H

#include <curl/curl.h>

#include "weightward/error.h"

#define WW_CURL_FUNCTIONS(X)                                                             \
    X(global_init)                                                                       \
    X(easy_init)                                                                         \
    X(easy_setopt)                                                                       \
    X(easy_perform)                                                                      \
    X(easy_getinfo)                                                                      \
    X(easy_strerror)                                                                     \
    X(easy_cleanup)                                                                      \
    X(slist_append)                                                                      \
    X(slist_free_all)                                                                    \
    X(getdate)

#define WW_CURL_MEMBER(name) __typeof__(curl_##name) *name;
struct ww_curl {
    WW_CURL_FUNCTIONS(WW_CURL_MEMBER)
};

/** Filled by: WW_E_UNSUPPORTED when libcurl is absent, WW_E_INTERNAL when it does not
 *  start. */
extern struct ww_curl ww_curl;
enum ww_err ww_curl_load(struct ww_error *err) WW_MUST_USE;

#endif
