/// The last so many of something.
struct Ring<Element: Sendable>: Sendable {
    private var elements: [Element] = []
    private var next = 0
    let capacity: Int

    init(capacity: Int) { self.capacity = max(1, capacity) }

    mutating func append(_ element: Element) {
        if elements.count < capacity {
            elements.append(element)
        } else {
            elements[next] = element
        }
        next = (next + 1) % capacity
    }

    mutating func removeAll() {
        elements = []
        next = 0
    }

    /// The elements, oldest first.
    var ordered: some Sequence<Element> {
        let start = elements.count < capacity ? 0 : next
        return elements.indices.lazy.map { elements[(start + $0) % elements.count] }
    }

    /// The elements, newest first.
    var newestFirst: some Sequence<Element> {
        let start = elements.count < capacity ? 0 : next
        let count = elements.count
        return elements.indices.lazy.map { elements[(start + count - 1 - $0) % count] }
    }
}
