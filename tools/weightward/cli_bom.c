/* SPDX-License-Identifier: Apache-2.0 */
/* The bill of materials of a folder that was made and signed. */
#include "cli.h"
#include "cli_guard.h"

/* The model is complete without it, and verify --chain --bom makes it at any time: what
 * is in the way is said and fails nothing. */
void cli_bom(const struct cli_common *common, const char *out,
             const struct ww_signer *signer)
{
    struct ww_error err = {0};
    if (signer && ww_bom_attach(out, signer, &err)) {
        cli_say(common, "no bill of materials: %s", err.text);
    }
}
