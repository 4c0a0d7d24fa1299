import FoundationEssentials
import IO

/// The story in eight steps; each checks what it tells and says it in a line.
struct DemoStory: Sendable {
    typealias Step = @Sendable () async throws -> String

    let world: StandInWorld
    let persons = DemoPersons()
    /// What later steps need of earlier ones.
    let memory = Locked(Memory())

    struct Memory {
        var list = ""
        var workers: [Program.Worker] = []
        var unknown: [String: SandboxDoor.Contact] = [:]
    }

    var steps: [Step] {
        [link, importPersons, approveRule, edit, leaveAndHands, refusals, killWorker, summary]
    }

    var door: SandboxDoor {
        SandboxDoor(root: world.sandboxRoot, list: memory.withLock { $0.list }, http: world.http)
    }

    /// Ends the workers.
    func end() async {
        let workers = memory.withLock { memory in
            defer { memory.workers = [] }
            return memory.workers
        }
        for worker in workers { await blocking { worker.stop() } }
    }

    /// The last lines of each worker's log.
    func logs() -> String {
        memory.withLock { $0.workers }.map { worker in
            let text =
                FileManager.default.contents(atPath: worker.log).map { String(decoding: $0, as: UTF8.self) } ?? ""
            return text.split(separator: "\n").suffix(20).joined(separator: "\n")
        }.joined(separator: "\n")
    }

    /// Fails the step unless the condition holds.
    func expect(_ condition: Bool, _ what: @autoclosure () -> String) throws(Failure) {
        guard condition else { throw Failure(what()) }
    }

    /// Starts one more worker.
    func startWorker() throws {
        try memory.withLock { memory in
            let log = "\(world.folder)/worker-\(memory.workers.count + 1).log"
            memory.workers.append(try world.program.startWorker(log: log))
        }
    }

    /// Compares the list with who should be in it: the members' names, and nobody else but the two unknown contacts.
    func checkList(_ expected: [String: (first: String, last: String)]) async throws {
        let contacts = try await door.contacts()
        let subscribed = contacts.values.filter { $0.status == "subscribed" }
        let unknown = memory.withLock { $0.unknown }
        for (address, name) in expected {
            guard let contact = contacts[address], contact.status == "subscribed" else {
                throw Failure("somebody is missing in the list")
            }
            try expect(
                contact.merge_fields["FNAME"] == name.first && contact.merge_fields["LNAME"] == name.last,
                "the names in the list are not those of the person file: "
                    + "\(contact.merge_fields) instead of \(name.first), \(name.last)")
        }
        try expect(
            subscribed.count == expected.count + unknown.count,
            "\(subscribed.count) are subscribed instead of \(expected.count + unknown.count)")
    }
}
