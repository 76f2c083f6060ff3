/* The wall clock of a process, moved by as many seconds as the file FAULT_CLOCK says; every other clock is left alone.
 * Loaded with LD_PRELOAD. Debian's libfaketime cannot do this for Python: its time.sleep() fails there with EINVAL when
 * the monotonic clock is to be real. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void)
{
	static long seconds, looked_at;
	struct timespec now;
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	long tenths = now.tv_sec * 10 + now.tv_nsec / 100000000;
	if (tenths != looked_at) {
		const char *path = getenv("FAULT_CLOCK");
		FILE *file = path ? fopen(path, "r") : NULL;
		long read;
		looked_at = tenths;
		if (file) {
			if (fscanf(file, "%ld", &read) == 1)
				seconds = read;
			fclose(file);
		}
	}
	return seconds;
}

int clock_gettime(clockid_t id, struct timespec *at)
{
	int answer = syscall(SYS_clock_gettime, id, at);
	if (answer == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		at->tv_sec += offset();
	return answer;
}

int gettimeofday(struct timeval *at, void *zone)
{
	struct timespec now;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	at->tv_sec = now.tv_sec;
	at->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *at)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (at)
		*at = now.tv_sec;
	return now.tv_sec;
}
