/* SPDX-License-Identifier: Apache-2.0 */
/* weightward evo run: evo fit with its options, after asking what the cache lacks. */
#include "cli_evo.h"

int evo_run(int argc, const char **argv)
{
    return evo_fit(argc, argv); /* which of the two stands in argv[0] */
}
