// Glibc's Swift module leaves these two headers out.
#include <sys/epoll.h>
#include <sys/eventfd.h>
