// libpq-fe.h is self-contained; this file only gives the module map a path of its own to name.
#include <libpq-fe.h>
