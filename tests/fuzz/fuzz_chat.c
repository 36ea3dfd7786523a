/* SPDX-License-Identifier: Apache-2.0 */
/* "chat" of a pool file: the texts around messages. */
#include "fuzz.h"

#include "serve/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_members members = {0};
    struct ww_chat_template chat;
    enum ww_err rc = ww_members_parse(data, size, ".", &members, &err);

    if (rc == WW_OK) {
        rc = ww_chat_template_read(&members, &chat, &err);
        FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
        FUZZ_CHECK(!chat.given || (rc == WW_OK && chat.user.before && chat.user.after));
    }
    ww_members_release(&members);
    return 0;
}
