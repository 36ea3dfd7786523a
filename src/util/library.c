/* SPDX-License-Identifier: Apache-2.0 */
#include "util/library.h"

#include <dlfcn.h>
#include <string.h>

#include "util/fail.h"

typedef void (*function)(void);

static enum ww_err find(const struct ww_library *lib, void *handle, size_t i,
                        struct ww_error *err)
{
    void *symbol = dlsym(handle, lib->names[i]);

    if (!symbol && i + lib->n_optional < lib->n) {
        return WW_FAIL(err, WW_E_LIBRARY,
                       "%s: the library %s has no function %s; install a newer one",
                       lib->purpose, lib->soname, lib->names[i]);
    }
    memcpy((char *)lib->functions + i * sizeof(function), &symbol, sizeof(symbol));
    return WW_OK;
}

static enum ww_err load(struct ww_library *lib, struct ww_error *err)
{
    void *handle = dlopen(lib->soname, RTLD_NOW | RTLD_LOCAL);
    enum ww_err rc = WW_OK;

    if (!handle) {
        const char *why = dlerror();
        return WW_FAIL(err, WW_E_LIBRARY,
                       "%s: the library %s cannot be loaded (%s); install it",
                       lib->purpose, lib->soname, why ? why : "no reason given");
    }
    for (size_t i = 0; i < lib->n && !rc; i++) {
        rc = find(lib, handle, i, err);
    }
    if (rc) {
        dlclose(handle);
    }
    return rc;
}

enum ww_err ww_library_load(struct ww_library *lib, struct ww_error *err)
{
    if (atomic_load(&lib->loaded)) {
        return WW_OK;
    }
    pthread_mutex_lock(&lib->lock);
    enum ww_err rc = atomic_load(&lib->loaded) ? WW_OK : load(lib, err);
    atomic_store(&lib->loaded, !rc);
    pthread_mutex_unlock(&lib->lock);
    return rc;
}
