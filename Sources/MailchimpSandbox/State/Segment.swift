/// A part of a list; a static one is what the pages call a tag.
struct Segment: Sendable {
    enum Kind: String, Sendable {
        case saved
        case tag = "static"
    }

    let id: Int
    var name: String
    let kind: Kind
    let created: Int
    var updated: Int
    /// The conditions of a saved segment, kept as they came: nothing evaluates them.
    var options: JSON?
    /// The members of a tag.
    var slots: Set<Int> = []
}

/// That a member has a tag, and since when.
struct MemberTag: Sendable, Equatable {
    let segment: Int
    let added: Int
}

/// The segments of a list, found by id and by name.
///
/// Names are compared without their case; the first spelling stays.
struct SegmentBook: Sendable {
    private(set) var all: [Segment] = []
    private var indexByID: [Int: Int] = [:]
    private var idByName: [String: Int] = [:]

    subscript(id: Int) -> Segment? { indexByID[id].map { all[$0] } }

    func id(named name: String) -> Int? { idByName[name.lowercased()] }

    mutating func add(_ segment: Segment) {
        indexByID[segment.id] = all.count
        idByName[segment.name.lowercased()] = segment.id
        all.append(segment)
    }

    mutating func change(_ id: Int, _ body: (inout Segment) -> Void) {
        guard let index = indexByID[id] else { return }
        idByName[all[index].name.lowercased()] = nil
        body(&all[index])
        idByName[all[index].name.lowercased()] = id
    }

    mutating func remove(_ id: Int) {
        guard let segment = self[id] else { return }
        all.removeAll { $0.id == id }
        idByName[segment.name.lowercased()] = nil
        indexByID = Dictionary(uniqueKeysWithValues: all.enumerated().map { ($1.id, $0) })
    }
}

extension Audience {
    /// Gives a member a tag or takes it from him; returns whether he is another afterwards.
    @discardableResult
    func set(_ tag: Int, _ isOn: Bool, of slot: Int, at now: Int) -> Bool {
        guard var member = member(at: slot), member.tags.contains(where: { $0.segment == tag }) != isOn else {
            return false
        }
        if isOn {
            member.tags.append(MemberTag(segment: tag, added: now))
        } else {
            member.tags.removeAll { $0.segment == tag }
        }
        member.lastChanged = now
        replace(slot, with: member)
        segments.change(tag) { segment in
            segment.updated = now
            if isOn { segment.slots.insert(slot) } else { segment.slots.remove(slot) }
        }
        return true
    }

    /// Whether a member lacks one of these tags or, when they must be all, has another one.
    func differs(_ member: Member, from names: [String], exactly: Bool) -> Bool {
        let wanted = names.map { segments.id(named: $0) }
        let present = Set(member.tags.map(\.segment))
        return wanted.contains { $0.map { !present.contains($0) } ?? true }
            || exactly && Set(wanted).count != present.count
    }

    /// Takes a segment out of the list and, if it is a tag, off its members.
    func removeSegment(_ id: Int, at now: Int) {
        for slot in segments[id]?.slots ?? [] { set(id, false, of: slot, at: now) }
        segments.remove(id)
    }
}
