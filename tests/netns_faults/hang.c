/*
 * Preloaded into a program: these calls hang for as long as the folder named in HANGS has a file of that name. So do a name
 * service whose server is gone, the question for an interface, for which the kernel may run modprobe from a dead disk, and
 * the start of a program below a network file system.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <net/if.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void hang(const char *name)
{
	char path[512];
	const char *folder = getenv("HANGS");

	snprintf(path, sizeof path, "%s/%s", folder ? folder : "/nowhere", name);
	while (access(path, F_OK) == 0)
		usleep(10000);
}

int getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
	int (*real)(const char *, struct passwd *, char *, size_t, struct passwd **);

	*(void **)&real = dlsym(RTLD_NEXT, "getpwnam_r");
	hang("users");
	return real(name, entry, buffer, size, result);
}

unsigned int if_nametoindex(const char *name)
{
	unsigned int (*real)(const char *);

	*(void **)&real = dlsym(RTLD_NEXT, "if_nametoindex");
	hang("interfaces");
	return real(name);
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
		 char *const arguments[], char *const environment[])
{
	int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[],
		    char *const[]);

	*(void **)&real = dlsym(RTLD_NEXT, "posix_spawnp");
	hang("programs");
	return real(pid, file, actions, attributes, arguments, environment);
}
