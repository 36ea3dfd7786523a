/* SPDX-License-Identifier: Apache-2.0 */
/* posix_spawn: between fork and exec nothing of ours runs, whatever threads there are. */
#include "util/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

static void set_signals(posix_spawnattr_t *attr, bool apart)
{
    sigset_t none;
    sigset_t defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    posix_spawnattr_setsigmask(attr, &none);
    posix_spawnattr_setsigdefault(attr, &defaults);
    posix_spawnattr_setpgroup(attr, 0);
    posix_spawnattr_setflags(attr,
                             (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                     (apart ? POSIX_SPAWN_SETPGROUP : 0)));
}

static int set_files(posix_spawn_file_actions_t *actions, int in, int out)
{
    int rc = in < 0 ? posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null",
                                                       O_RDONLY, 0)
                    : posix_spawn_file_actions_adddup2(actions, in, STDIN_FILENO);
    if (!rc) {
        rc = posix_spawn_file_actions_adddup2(actions, out, STDOUT_FILENO);
    }
    if (!rc) {
        rc = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
    }
    return rc;
}

int ww_process_start(char *const *argv, int in, int out, bool apart, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc) {
        return rc;
    }
    rc = posix_spawnattr_init(&attr);
    if (rc) {
        goto files;
    }
    set_signals(&attr, apart);
    rc = set_files(&actions, in, out);
    if (!rc) {
        rc = posix_spawn(pid, argv[0], &actions, &attr, argv, environ);
    }
    posix_spawnattr_destroy(&attr);
files:
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}
