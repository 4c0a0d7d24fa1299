import Foundation
import MailchimpSandbox
import Postgres

/// From a CSV file to the list: how long each part takes, in how many calls, and in how much memory.
///
/// The sandbox answers without latency, so that only this program and the database are measured.
struct SyncBench: Sendable {
    let world: StandInWorld
    let persons: Int
    let json: Bool

    func run() async throws {
        try await prepare()
        let file = world.folder + "/persons.csv"
        let imported = try await seconds { try await world.program.run("person", "import", file) }
        show("import", "s", imported)
        show("import rate", "persons/s", Double(persons) / imported)
        let worker = try world.program.startWorker(log: world.folder + "/worker.log")
        defer { worker.stop() }
        try await measure(worker)
    }

    private func measure(_ worker: Program.Worker) async throws {
        show(
            "evaluate, to a held plan", "s",
            try await seconds {
                try await world.program.run("rule", "add", "Mailchimp - Nieuwsbrief", DemoPersons.newsletter)
                try await world.eventually("everybody is in the plan", within: .seconds(1200)) {
                    try await world.number("select coalesce(sum(joins), 0)::bigint from koppeling.plans")
                        == Int64(persons)
                }
                try await world.quiet(within: .seconds(600))
            })
        try await world.program.run("instance", "enable", "Nieuwsbrief")
        try await world.eventually("the list is read") {
            try await world.number("select count(*) from koppeling.connector_instance where last_pull_at is not null")
                == 1
        }
        let plan = try await world.pool.query("select id, version from koppeling.plans where state = 'held'")
        let version: Int32 = try plan[0].decode("version")
        let number: Int64 = try plan[0].decode("id")
        let door = SandboxDoor(root: world.sandboxRoot, list: await world.sandbox.lists()[0].id, http: world.http)
        try await door.send("DELETE", "requests")
        let before = worker.processorTime()
        let staged = try await seconds {
            try await world.program.run("plan", "approve", String(number), "--plan-version", String(version))
        }
        show("stage", "s", staged)
        // The worker begins at the first commit of the staging, which is the end of it.
        show(
            "push, until the last is recorded", "s", try await seconds { try await world.quiet(within: .seconds(1800)) }
        )
        show("processor time of the worker for the push", "s", worker.processorTime() - before)
        try await calls(door)
        show("peak resident memory of the worker", "MB", worker.peakMemory(), aim: 150)
    }

    private func calls(_ door: SandboxDoor) async throws {
        struct Counts: Decodable {
            struct Count: Decodable {
                var method: String
                var count: Int
            }
            var counts: [Count]
        }
        let counts: Counts = try await door.send("GET", "requests/counts").decode()
        let writes = counts.counts.filter { $0.method != "GET" }.reduce(0) { $0 + $1.count }
        show("calls that write", "calls", Double(writes), aim: Double(persons) / 500 + 5)
        show("calls that read", "calls", Double(counts.counts.reduce(0) { $0 + $1.count } - writes))
    }

    private func prepare() async throws {
        try await world.program.run("migrate")
        try await world.program.run("account", "connect", "--name", "Instituut", input: StandInWorld.apiKey)
        try await world.program.run("instance", "link", "Instituut", "--list", "Nieuwsbrief")
        var file = "bron,nummer,voornaam,tussenvoegsels,achternaam,geslacht,e-mailadres zakelijk,categorieën\n"
        for number in 1...persons {
            file +=
                "bench,\(number),Anna,van der,Berg \(number),vrouw,persoon\(number)@post.koppeling.test,"
                + "\(DemoPersons.newsletter)\n"
        }
        try Data(file.utf8).write(to: URL(filePath: world.folder + "/persons.csv"))
    }

    private func seconds(_ body: () async throws -> Void) async throws -> Double {
        let began = ContinuousClock.now
        try await body()
        let (seconds, attoseconds) = (ContinuousClock.now - began).components
        return Double(seconds) + Double(attoseconds) / 1e18
    }

    private func show(_ name: String, _ unit: String, _ value: Double, aim: Double? = nil) {
        let rounded = (value * 100).rounded() / 100
        let figure = Figure(
            bench: "sync", figure: name, value: rounded, unit: unit, aim: aim, met: aim.map { value <= $0 })
        if json, let line = try? JSONText(encoding: figure) {
            Console.line(line.text)
        } else {
            let judged = aim.map { "  aim \($0): \(value <= $0 ? "met" : "missed")" } ?? ""
            Console.line("\(name.padding(toLength: 44, withPad: " ", startingAt: 0))\(rounded) \(unit)\(judged)")
        }
    }
}
