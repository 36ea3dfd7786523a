/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of requests to a served pool, read as both kinds. */
#include "fuzz.h"

#include <string.h>

#include "serve/question.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ww_chat_template how = {.begin = "",
                                                .answer = "A:",
                                                .user = {"U:", "\n"},
                                                .assistant = {"A:", "\n"},
                                                .given = true};
    for (int chat = 0; chat < 2; chat++) {
        struct ww_error err = {0};
        struct ww_question q;
        if (ww_question_read(data, size, chat, &how, &q, &err)) {
            FUZZ_CHECK(strlen(err.text) > 0);
            continue;
        }
        FUZZ_CHECK(q.model && q.prompt.len > 0);
        FUZZ_CHECK(q.max_tokens >= 1 && q.max_tokens <= WW_QUESTION_TOKENS);
        FUZZ_CHECK(q.temperature >= 0 && q.temperature <= 2);
        FUZZ_CHECK(q.top_p > 0 && q.top_p <= 1 && q.n_stops <= WW_QUESTION_STOPS);
        FUZZ_CHECK(q.top >= -1 && q.top <= WW_QUESTION_CHAT_TOP);
        ww_question_release(&q);
    }
    return 0;
}
