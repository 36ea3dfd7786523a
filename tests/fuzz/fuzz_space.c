/* SPDX-License-Identifier: Apache-2.0 */
/* Space files of a search; what is accepted renders, at its start and at its corners. */
#include "fuzz.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "evo/search_space.h"

static void render(const struct ww_space *space, const double *x)
{
    struct ww_error err = {0};
    struct ww_buf text;

    ww_buf_init(&text, (size_t)16 << 20);
    FUZZ_CHECK(ww_space_render(space, x, &text, &err) == WW_OK || err.code == WW_E_LIMIT);
    ww_buf_release(&text);
}

static void use(const struct ww_space *space)
{
    double low[WW_SPACE_MAX_NUMBERS];
    double high[WW_SPACE_MAX_NUMBERS];
    double x[WW_SPACE_MAX_NUMBERS];

    FUZZ_CHECK(space->d <= WW_SPACE_MAX_NUMBERS);
    ww_space_box(space, low, high);
    ww_space_start(space, x);
    for (uint32_t i = 0; i < space->d; i++) {
        FUZZ_CHECK(isfinite(x[i]));
    }
    FUZZ_CHECK(ww_space_penalty(space, x) >= 0);
    render(space, x);
    ww_space_from_steps(space, low, x);
    render(space, x);
    ww_space_from_steps(space, high, x);
    render(space, x);
}

/* Read from a file without a name, since a space names its recipe by where it lies. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_space space;
    char path[64];
    const int fd = memfd_create("space", MFD_CLOEXEC);

    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const enum ww_err rc = ww_space_read(path, &space, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (!rc) {
        use(&space);
    }
    ww_space_release(&space);
    close(fd);
    return 0;
}
