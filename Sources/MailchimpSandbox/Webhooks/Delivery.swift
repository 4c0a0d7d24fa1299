/// One event for one receiver, on its way.
struct Delivery: Sendable {
    /// Counts up, so that of two that are due together the earlier one goes first.
    let id: Int
    let list: String
    let webhook: String
    let url: String
    let type: String
    let body: String
    let secret: String?
    /// How often it was tried before.
    var tries = 0
    var due: ContinuousClock.Instant

    func goes(before other: Delivery) -> Bool { (due, id) < (other.due, other.id) }
}

/// The deliveries that wait, by when they are due.
///
/// A heap, since one import may cause a hundred thousand of them.
struct DeliveryQueue: Sendable {
    private var heap: [Delivery] = []

    var count: Int { heap.count }
    var first: Delivery? { heap.first }

    /// The next so many, in order.
    func next(_ count: Int) -> [Delivery] {
        Array(heap.sorted { $0.goes(before: $1) }.prefix(count))
    }

    mutating func insert(_ delivery: Delivery) {
        heap.append(delivery)
        var index = heap.count - 1
        while index > 0, heap[index].goes(before: heap[(index - 1) / 2]) {
            heap.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    mutating func removeFirst() -> Delivery? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        return first
    }

    /// Takes out what is for a webhook that is gone or switched off.
    mutating func removeAll(for webhook: String) {
        let kept = heap.filter { $0.webhook != webhook }
        guard kept.count < heap.count else { return }
        // Sorted is a heap too.
        heap = kept.sorted { $0.goes(before: $1) }
    }

    private mutating func sink() {
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2]
            where child < heap.count && heap[child].goes(before: heap[least]) {
                least = child
            }
            guard least != index else { return }
            heap.swapAt(index, least)
            index = least
        }
    }
}
