/**
 * A WebSocket client for browsers and the servers of websockets-simple.
 *
 * ```js
 * import { WebsocketClient } from "./websockets-simple.js";
 *
 * const client = new WebsocketClient("wss://chat.example/", {
 *   subprotocols: ["chat.v1"],
 *   token: async () => (await fetch("/ticket", { method: "POST" })).text(),
 * });
 * client.addEventListener("message", ({ detail }) => console.log(detail.data));
 * client.addEventListener("connected", () => client.sendPacket("hello"));
 * client.connect();
 * ```
 */
export class WebsocketClient extends EventTarget {
  /** Creates a client, which is idle until {@link connect}. */
  constructor(url: string | URL, options?: ClientOptions);

  readonly state: ConnectionState;

  /**
   * The states from now on, the current one first: `for await (const state of client.states)`. Who is slow sees the newest
   * state, and not those in between.
   */
  readonly states: AsyncIterableIterator<ConnectionState>;

  /**
   * The subprotocol that the server chose; `""` if none, or if not connected. Without the `websockets-simple+` by which it
   * is offered together with control messages.
   */
  readonly subprotocol: string;

  /** Whether the server has said hello, so that tokens are renewed, groups joined and dead lines noticed. */
  readonly hasControls: boolean;

  /** Queued bytes that were not sent yet. */
  readonly bufferedAmount: number;

  /** Connects, and from then on reconnects after failures. Has no effect unless idle or given up. */
  connect(): void;

  /** Resolves once connected. Rejects if no connection is wanted, or none is any more: idle, or given up. */
  connected(): Promise<void>;

  /**
   * While waiting or given up: makes an attempt at once. While connected: asks the server for a sign of life, and goes on
   * without this connection if none comes within 5 seconds. False if there was nothing to do.
   */
  reconnectNow(): boolean;

  /**
   * Ends the connection or the attempt, and does not reconnect. Idle at once; messages that still arrive are ignored.
   * Groups are forgotten.
   * @throws if the code is neither 1000 nor 3000 to 4999, or the reason has more than 123 bytes. The connection stays.
   */
  disconnect(code?: number, reason?: string): void;

  /** Sends a message. @throws if not connected: nothing is queued for a later connection. */
  send(data: string | Blob | BufferSource): void;

  /** Sends a value as JSON. @throws if not connected. */
  sendJson(value: unknown): void;

  /** Sends the default packet: `{"Data":"..","Timestamp":".."}`. @throws if not connected. */
  sendPacket(data: string): void;

  /**
   * Joins a group of this connection's channel. Resolves once the server confirms it, also over a later connection, but
   * within `connectTimeout`. From then on the client joins the group again on each connection, until it leaves it, the
   * server refuses it (event `group`), or no connection is wanted any more.
   *
   * Rejects with a {@link GroupError}: the group is not wanted then. After a `timeout` it is unknown whether the client is
   * in it until the server answers; then it leaves it.
   */
  join(group: string): Promise<void>;

  /**
   * Leaves a group, and does not join it again. Resolves once the server confirms it, or at once without a connection.
   * Rejects with a {@link GroupError}.
   */
  leave(group: string): Promise<void>;

  addEventListener<K extends keyof ClientEvents>(
    kind: K,
    listener: (event: ClientEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    kind: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof ClientEvents>(
    kind: K,
    listener: (event: ClientEvents[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    kind: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/**
 * The state of a client. `waiting` is the time until the next attempt; after `givenUp` there is none, until
 * {@link WebsocketClient.connect} or {@link WebsocketClient.reconnectNow}. Each change is told once, in order, when what
 * was before is gone.
 */
export type ConnectionState = "idle" | "connecting" | "connected" | "waiting" | "givenUp";

/**
 * Why a token is asked for: for the first attempt, for a later one, because the server has refused the last token or it
 * has expired (a remembered one is of no use then), or because that of the open connection expires.
 *
 * Browsers hide that a handshake was answered by 401: the attempt after it is one of `again`.
 */
export type TokenReason = "first" | "again" | "refused" | "expiring";

export interface ClientOptions {
  /**
   * Called for a token before every attempt, and when the server reports that the credentials are about to expire. The
   * token is sent as the subprotocol `bearer.BASE64URL(TOKEN)`. Throw {@link NotAuthorized} if the user cannot get one:
   * the client gives up. After any other error it tries again later.
   *
   * It has as long as the attempt, `connectTimeout`. `signal` is aborted when its token is not needed any more.
   */
  token?: (reason: TokenReason, signal: AbortSignal) => string | undefined | Promise<string | undefined>;

  /** The subprotocols to offer, the preferred one first. */
  subprotocols?: string[];

  /**
   * Offer control messages: `websockets-simple+NAME` before each `NAME`, or `websockets-simple` where there are no
   * subprotocols. Servers of other libraries choose `NAME`, or nothing of the latter, which browsers refuse: set this to
   * false for those. Default: true.
   */
  control?: boolean;

  /** Answer the text `ping` with `pong` and keep both from the application. Default: true. */
  answersTextPing?: boolean;

  /** Reconnect after a connection or an attempt has failed. Default: true. */
  reconnect?: boolean;

  /** Try the first attempt after {@link WebsocketClient.connect} again, too. Default: true. */
  first?: boolean;

  /** Most attempts in a row after a loss. Default: null, no end. */
  attempts?: number | null;

  /** Milliseconds after a loss within which attempts are made. Default: null, for ever. */
  within?: number | null;

  /** Largest delay after the first failure, in milliseconds. It doubles with each further failure. Default: 500. */
  baseDelay?: number;

  /** Largest delay before any attempt, in milliseconds. Default: 30000. */
  maxDelay?: number;

  /** Milliseconds after which an open connection counts as a success and resets the delays. Default: 10000. */
  stableAfter?: number;

  /** Milliseconds that an attempt may take, its token included, and that {@link WebsocketClient.join} may. Default: 20000. */
  connectTimeout?: number;

  /** Random numbers between 0 and 1 for the delays. Default: `Math.random`. */
  random?: () => number;

  /** Another implementation of WebSocket. Default: that of the browser. */
  WebSocket?: typeof WebSocket;
}

export class ClientEvent<T = unknown> extends Event {
  constructor(kind: string, detail: T);
  readonly detail: T;
}

export interface ClientEvents {
  state: ClientEvent<{ state: ConnectionState }>;
  connected: ClientEvent<{ subprotocol: string }>;
  message: ClientEvent<{ data: string | ArrayBuffer }>;
  /** Raised at the end of every connection and after every failed attempt. */
  disconnected: ClientEvent<Disconnected>;
  /** What became of a membership, also when groups are joined again. `reason` is that of a server that refuses. */
  group: ClientEvent<{ group: string; joined: boolean; reason: string | null }>;
  /** The server has accepted a new token. `expiresAt` is null if it never expires. */
  renewed: ClientEvent<{ expiresAt: string | null }>;
  /**
   * `connect`: the token provider failed, or the URL or a subprotocol is invalid. `token`: the credentials could not be
   * renewed; the connection stays until they expire. `control`: the server sent a malformed control message.
   */
  error: ClientEvent<{ stage: "connect" | "token" | "control"; error: unknown }>;
}

export interface Disconnected {
  /**
   * 1006 if the connection was lost or never opened: browsers hide the reason, even that a token was refused. 1001 if the
   * page was hidden and may be shown again.
   */
  code: number;
  /** That of the server, or what the client itself has noticed. */
  reason: string;
  /** Whether the connection was open. */
  opened: boolean;
  /** Milliseconds until the next attempt; null if there is none. */
  reconnectIn: number | null;
}

/** Why a client is not in a group, or may not leave it. */
export class GroupError extends Error {
  constructor(
    kind: "left" | "name" | "noControls" | "notConnected" | "refused" | "timeout",
    reason?: string,
  );
  /**
   * `left`: {@link WebsocketClient.leave} came first. `name`: not 1 to 128 bytes, or control characters. `noControls`: the
   * server has no control messages. `notConnected`: no connection is wanted. `refused`: see `reason`. `timeout`: no answer
   * came within `connectTimeout`.
   */
  readonly kind: "left" | "name" | "noControls" | "notConnected" | "refused" | "timeout";
  /** That of a server that refuses. */
  readonly reason: string | undefined;
}

/** The error that a token provider throws when the user cannot get a token. */
export class NotAuthorized extends Error {
  constructor(message?: string);
}

/** The close codes that a client may act on. Others exist. */
export const CloseCode: {
  readonly NORMAL: 1000;
  readonly GOING_AWAY: 1001;
  readonly PROTOCOL: 1002;
  readonly UNSUPPORTED: 1003;
  /** Never on the wire: the server closed without a code. */
  readonly NO_STATUS: 1005;
  /** Never on the wire: the connection was lost, or never opened. */
  readonly ABNORMAL: 1006;
  readonly INVALID_DATA: 1007;
  readonly POLICY: 1008;
  readonly TOO_BIG: 1009;
  readonly INTERNAL: 1011;
  readonly RESTART: 1012;
  readonly TRY_AGAIN: 1013;
  readonly UNRESPONSIVE: 4000;
  readonly OVERFLOW: 4001;
  readonly IDLE: 4002;
  readonly EXPIRED: 4003;
  readonly REVOKED: 4004;
  readonly REPLACED: 4005;
};

/**
 * Whether a client should reconnect after this close code: 1001, 1005, 1006, 1011 to 1014, 3000 to 3499, 4000 to 4003 and
 * 4100 to 4499. After 1000 the client reconnects only if the server has never said hello.
 */
export function shouldReconnect(code: number): boolean;

/** Encodes the default packet as JSON. */
export function encodePacket(data: string, at?: Date): string;

/**
 * Decodes the default packet as leniently as the Rust and .NET libraries do: names in any case, `Data` also as a number
 * or a boolean. Any other text becomes the data of a packet with the current time. A missing timestamp is null.
 */
export function decodePacket(text: string): { data: string; timestamp: string | null };
