/// The faults in force, in the order of their making; the first that meets a call has it.
struct FaultBook: Sendable {
    /// More than anybody needs; every call is held against all of them.
    static let most = 1000

    private(set) var faults: [Fault] = []
    private var nextID = 1

    mutating func add(_ make: (Int) throws(Problem) -> Fault) throws(Problem) -> Fault {
        guard faults.count < Self.most else {
            throw World.wrong("There are \(Self.most) faults already; remove some with DELETE /sandbox/faults.")
        }
        let fault = try make(nextID)
        nextID += 1
        faults.append(fault)
        return fault
    }

    mutating func remove(_ id: Int) -> Bool {
        guard let index = faults.firstIndex(where: { $0.id == id }) else { return false }
        faults.remove(at: index)
        return true
    }

    mutating func removeAll() { faults = [] }

    mutating func meet(_ call: Call, query: String, _ endpoint: Endpoint?, member: HexID?) -> Fault? {
        for index in faults.indices
        where faults[index].match.includes(call, query: query, endpoint, member: member) && faults[index].strikes() {
            return faults[index]
        }
        return nil
    }
}

extension Fault {
    /// Whether it meets the next of the calls that it can meet.
    fileprivate mutating func strikes() -> Bool {
        if skip > 0 {
            skip -= 1
            return false
        }
        if remaining == 0 { return false }
        if share < 1, generator.share() >= share { return false }
        hits += 1
        if let count = remaining { remaining = count - 1 }
        return true
    }
}
