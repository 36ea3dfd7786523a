/* SPDX-License-Identifier: Apache-2.0 */
/* The same in C++: the headers' linkage blocks, and ownership by unique_ptr. */
#include <iostream>
#include <memory>

#include <weightward/forward.h>
#include <weightward/lock.h>
#include <weightward/report.h>

int main(int argc, char **argv)
{
    ww_error err{};
    ww_model *opened = nullptr;

    if (argc != 2) {
        return ww_err_exit_status(WW_E_USAGE);
    }
    if (ww_model_open(argv[1], &opened, &err) != WW_OK) {
        std::cout << ww_err_name(err.code) << ": " << err.text << "\n";
        return ww_err_exit_status(err.code);
    }
    std::unique_ptr<ww_model, decltype(&ww_model_close)> model(opened, ww_model_close);
    std::cout << ww_version() << ": " << model->name << " has " << model->n_tensors
              << " tensors, the first is " << model->tensors[0].name << " "
              << ww_dtype_name(model->tensors[0].dtype) << "\n";
    return 0;
}
