import ArgumentParser
import Foundation
import Logging
import Postgres
import ServiceLifecycle
import UnixSignals

/// `koppeling demo`: the whole story on a private database and a stand-in for Mailchimp.
struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tell the story of a linked list, checking every step; no account and no database needed.",
        discussion: "Without --once it stays up afterwards, to look around in.")

    @Flag(help: "Stop after the last step.")
    var once = false

    func run() async throws {
        let settings = try Settings.read()
        let logger = Log.logger(settings)
        let once = once
        try await StandInWorld.with(logger: logger, listen: settings.listen) { world in
            let story = DemoStory(world: world)
            do {
                try await Self.tell(story)
                if !once { try await Self.stayUp(world) }
            } catch {
                Console.error(story.logs())
                await story.end()
                throw error
            }
            await story.end()
        }
        if once { Console.line("demo: ok") }
    }

    private static func tell(_ story: DemoStory) async throws {
        for (index, step) in story.steps.enumerated() {
            do {
                Console.line("step \(index + 1) ok: \(try await step())")
            } catch {
                Console.line("step \(index + 1) failed: \(Failure(error).message)")
                throw Failure("The demonstration failed at step \(index + 1); the workers' last log lines are above.")
            }
        }
    }

    private static func stayUp(_ world: StandInWorld) async throws {
        Console.line("service center  \(world.serviceCenterURL)")
        Console.line("sandbox         \(world.sandboxRoot)/sandbox/lists")
        Console.line("database        psql \"\(world.database.url)\"")
        Console.line("demo: ok, and up until Ctrl-C")
        let waiting = ServiceGroup(
            services: [Waiting()], gracefulShutdownSignals: [.sigterm, .sigint], logger: .init(label: "koppeling.demo"))
        try await waiting.run()
    }

    /// Does nothing until a signal ends it.
    private struct Waiting: Service {
        func run() async throws { try await gracefulShutdown() }
    }
}
