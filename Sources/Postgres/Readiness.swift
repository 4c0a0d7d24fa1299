import Glibc

/// Whether there is something to read, or the other side has hung up; does not wait.
func hasInput(_ descriptor: Int32) -> Bool {
    var question = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&question, 1, 0) > 0
}
