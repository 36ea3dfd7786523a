/* SPDX-License-Identifier: Apache-2.0 */
/* A task file gives items that are whole and unlike each other, or none. */
#include "fuzz.h"

#include <string.h>

#include "evo/tasks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_tasks tasks;
    struct ww_error err = {0};

    if (ww_tasks_parse(data, size, &tasks, &err)) {
        FUZZ_CHECK(err.text[0] && !tasks.n);
        return 0;
    }
    for (size_t i = 0; i < tasks.n; i++) {
        FUZZ_CHECK(tasks.item[i].prompt.len && tasks.item[i].answer.len);
        FUZZ_CHECK(tasks.item[i].weight > 0);
        for (size_t j = 0; j < i; j++) {
            FUZZ_CHECK(memcmp(tasks.item[i].hash, tasks.item[j].hash, 32) != 0);
        }
    }
    ww_tasks_release(&tasks);
    return 0;
}
