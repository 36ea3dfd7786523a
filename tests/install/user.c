/* SPDX-License-Identifier: Apache-2.0 */
/* A program of somebody else: strict C99, public headers, nothing from this tree. */
#include <stdio.h>

#include <weightward/model.h>
#include <weightward/report.h>

int main(int argc, char **argv)
{
    struct ww_error err = {WW_OK, 0, NULL, 0, {0}};
    struct ww_model *model = NULL;

    if (argc != 2) {
        return ww_err_exit_status(WW_E_USAGE);
    }
    if (ww_model_open(argv[1], &model, &err)) {
        printf("%s: %s\n", ww_err_name(err.code), err.text);
        return ww_err_exit_status(err.code);
    }
    printf("%s: %s has %u tensors, the first is %s %s\n", ww_version(), model->name,
           (unsigned)model->n_tensors, model->tensors[0].name,
           ww_dtype_name(model->tensors[0].dtype));
    ww_model_close(model);
    return 0;
}
