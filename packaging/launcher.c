/* SPDX-License-Identifier: Apache-2.0
 *
 * missionctl, as people start it. Python ignores SIGPIPE and SIGXFSZ from its start, and cannot tell afterwards
 * whether they were ignored before; a command that missionctl becomes is to find them as they were. So they are
 * looked at here, and the first argument of the program below is a list of those that are ignored, or "-".
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "/usr/lib/missiond/missionctl"
#define NOT_STARTED 125

static int is_ignored(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int main(int argc, char **argv)
{
    char ignored[32];
    char **arguments = calloc(argc + 3, sizeof *arguments);

    if (arguments == NULL)
        return NOT_STARTED;
    ignored[0] = '\0';
    if (is_ignored(SIGPIPE))
        sprintf(ignored, "%d,", SIGPIPE);
    if (is_ignored(SIGXFSZ))
        sprintf(ignored + strlen(ignored), "%d,", SIGXFSZ);
    arguments[0] = PROGRAM;
    arguments[1] = ignored[0] ? ignored : "-";
    for (int at = 1; at < argc; at++)
        arguments[at + 1] = argv[at];
    execv(PROGRAM, arguments);
    fprintf(stderr, "missionctl: " PROGRAM " cannot be executed: %s\n", strerror(errno));
    return NOT_STARTED;
}
