/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask_evaluator SOCKET PATH PART SEED: an evaluator of evo search that hands the question
 * to a program listening on a Unix socket, which keeps its models loaded: a line "PART
 * SEED", then the candidate. What it answers is printed.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int copy(int from, int to)
{
    char bytes[65536];
    ssize_t n;
    while ((n = read(from, bytes, sizeof(bytes))) > 0) {
        for (ssize_t done = 0; done < n;) {
            const ssize_t wrote = write(to, bytes + done, (size_t)(n - done));
            if (wrote <= 0) {
                return 1;
            }
            done += wrote;
        }
    }
    return n < 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (argc != 5 || strlen(argv[1]) >= sizeof(name.sun_path)) {
        fprintf(stderr, "usage: ask_evaluator SOCKET PATH PART SEED\n");
        return 2;
    }
    memcpy(name.sun_path, argv[1], strlen(argv[1]));
    const int s = socket(AF_UNIX, SOCK_STREAM, 0);
    FILE *recipe = fopen(argv[2], "r");
    if (s < 0 || !recipe || connect(s, (struct sockaddr *)&name, sizeof(name)) != 0 ||
        dprintf(s, "%s %s\n", argv[3], argv[4]) < 0) {
        perror("ask_evaluator");
        return 1;
    }
    return copy(fileno(recipe), s) || shutdown(s, SHUT_WR) != 0 || copy(s, 1);
}
