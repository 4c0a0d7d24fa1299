/// The members of a list by when they last changed.
///
/// Every change appends an entry and outdates the member's former one. Time never goes back, so the entries are sorted
/// and a search for what changed since a moment does not look at the rest.
struct ChangeOrder: Sendable {
    private struct Entry: Sendable {
        let second: Int
        let slot: Int32
    }

    private var entries: [Entry] = []
    /// Where each slot's newest entry stands; -1 for a slot that is gone.
    private var position: [Int32] = []
    private var outdated = 0

    mutating func touch(_ slot: Int, at second: Int) {
        if slot < position.count {
            if position[slot] >= 0 { outdated += 1 }
        } else {
            position.append(contentsOf: repeatElement(-1, count: slot - position.count + 1))
        }
        position[slot] = Int32(entries.count)
        entries.append(Entry(second: second, slot: Int32(slot)))
        compactIfWorthwhile()
    }

    mutating func remove(_ slot: Int) {
        guard slot < position.count, position[slot] >= 0 else { return }
        position[slot] = -1
        outdated += 1
    }

    /// Visits the slots that changed from `since` up to but not including `before`, oldest first or newest first.
    func visit(from since: Int?, before: Int?, descending: Bool, _ body: (Int) -> Void) {
        let start = since.map { lowerBound($0) } ?? 0
        let end = max(start, before.map { lowerBound($0) } ?? entries.count)
        func look(_ index: Int) {
            let slot = Int(entries[index].slot)
            if position[slot] == Int32(index) { body(slot) }
        }
        if descending {
            for index in (start..<end).reversed() { look(index) }
        } else {
            for index in start..<end { look(index) }
        }
    }

    /// The slots by when they last changed, newest first, for whoever wants only the first few.
    var newestFirst: some Sequence<Int> {
        entries.indices.reversed().lazy.map { (Int32($0), Int(entries[$0].slot)) }
            .filter { position[$0.1] == $0.0 }.map { $0.1 }
    }

    /// The index of the first entry at or after a second.
    private func lowerBound(_ second: Int) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].second < second { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private mutating func compactIfWorthwhile() {
        guard outdated > 1024, outdated > entries.count / 2 else { return }
        var kept: [Entry] = []
        kept.reserveCapacity(entries.count - outdated)
        for (index, entry) in entries.enumerated() where position[Int(entry.slot)] == Int32(index) {
            position[Int(entry.slot)] = Int32(kept.count)
            kept.append(entry)
        }
        entries = kept
        outdated = 0
    }
}
