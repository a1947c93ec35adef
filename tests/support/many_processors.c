/* A library that tells the process that preloads it of $PROCESSORS processors, as the C library and NumPy count them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

int get_nprocs(void) { return atoi(getenv("PROCESSORS")); }

int get_nprocs_conf(void) { return get_nprocs(); }

long sysconf(int name)
{
    if (name == _SC_NPROCESSORS_CONF || name == _SC_NPROCESSORS_ONLN)
        return get_nprocs();
    return ((long (*)(int))dlsym(RTLD_NEXT, "sysconf"))(name);
}

int sched_getaffinity(pid_t process, size_t size, cpu_set_t *set)
{
    CPU_ZERO_S(size, set);
    for (int processor = 0; processor < get_nprocs(); processor++)
        CPU_SET_S(processor, size, set);
    return 0;
}

/* Nothing can be bound to a processor that is not there. */
int sched_setaffinity(pid_t process, size_t size, const cpu_set_t *set) { return 0; }
